//! Takes settings one by one out of the parsed file and the environment, and remembers what is wrong and what is left.
//!
//! It knows TOML and variables, and no setting by name.

use super::finding::{Finding, Place, Position};
use super::kinds::{Kind, Wrong};
use super::{Origin, Setting, VARIABLE_PREFIX};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Value<'a> = Spanned<DeValue<'a>>;

pub(super) struct Reader<'a> {
    text: &'a str,
    root: &'a DeTable<'a>,
    /// Names without the prefix.
    variables: BTreeMap<&'a str, &'a str>,
    sections: Vec<&'static str>,
    /// Every variable that would have been taken.
    known_variables: BTreeSet<String>,
    pub findings: Vec<Finding>,
    pub settings: Vec<Setting>,
}

/// One section of the file while it is read.
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
    table: Option<&'a DeTable<'a>>,
    /// The place of the section's header.
    pub header: Place,
    keys: Vec<&'static str>,
    places: BTreeMap<&'static str, Place>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, root: &'a DeTable<'a>, variables: &'a [(String, String)]) -> Self {
        let bare = |(name, value): &'a (String, String)| {
            let name = name.strip_prefix(VARIABLE_PREFIX)?;
            Some((name, value.as_str()))
        };
        Reader {
            text,
            root,
            variables: variables.iter().filter_map(bare).collect(),
            sections: Vec::new(),
            known_variables: BTreeSet::new(),
            findings: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Whether the file or the environment says anything of the section.
    pub fn has(&self, name: &str) -> bool {
        let prefix = format!("{}__", name.to_uppercase());
        find(self.root, name).is_some() || self.variables.keys().any(|v| v.starts_with(&prefix))
    }

    /// The table `[name]`; a missing one is read like an empty one.
    pub fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        self.sections.push(name);
        let mut table = None;
        let mut header = Place::Whole;
        if let Some(value) = find(self.root, name) {
            header = self.place(value.span(), false);
            match value.get_ref() {
                DeValue::Table(found) => table = Some(found),
                other => self.refuse(
                    header.clone(),
                    format!("expected a table [{name}], found {}", other.type_str()),
                ),
            }
        }
        self.open(name, table, header)
    }

    /// The only table of `[[name]]`; more than one is a finding on each further one.
    pub fn only_of(&mut self, name: &'static str) -> Section<'_, 'a> {
        self.sections.push(name);
        let mut table = None;
        let mut header = Place::Whole;
        if let Some(value) = find(self.root, name) {
            header = self.place(value.span(), false);
            let items = value.get_ref().as_array();
            let items: Vec<_> = items.into_iter().flat_map(|a| a.iter()).collect();
            for further in items.iter().skip(1) {
                let place = self.place(further.span(), false);
                self.refuse(place, format!("more than one [[{name}]] is not supported"));
            }
            let first = items.first().map(|i| (i.span(), i.get_ref().as_table()));
            match first {
                Some((span, Some(found))) => {
                    header = self.place(span, false);
                    table = Some(found);
                }
                Some((_, None)) | None => {
                    let message = format!("expected tables [[{name}]], found {}", of(value));
                    let help = format!("write [[{name}]] in double brackets");
                    let finding = Finding::error(header.clone(), message);
                    self.findings.push(finding.with_help(Some(help)));
                }
            }
        }
        self.open(name, table, header)
    }

    fn open(
        &mut self,
        name: &'static str,
        table: Option<&'a DeTable<'a>>,
        header: Place,
    ) -> Section<'_, 'a> {
        Section {
            reader: self,
            name,
            table,
            header,
            keys: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Reports what no section took. To be called last.
    pub fn finish(&mut self) {
        for (key, _) in self.root.iter() {
            let name = key.get_ref().as_ref();
            if !self.sections.contains(&name) {
                let place = self.place(key.span(), false);
                let message = format!("unknown section `{}`", name.escape_debug());
                let help = suggestion(name, &self.sections, "the sections are");
                self.findings
                    .push(Finding::error(place, message).with_help(Some(help)));
            }
        }
        let known: Vec<_> = self.known_variables.iter().map(String::as_str).collect();
        let unknown = |(name, _): (&&str, &&str)| {
            let name = format!("{VARIABLE_PREFIX}{name}");
            (!self.known_variables.contains(&name)).then_some(name)
        };
        for name in self.variables.iter().filter_map(unknown) {
            let help = nearest(&name, &known).map(|n| format!("did you mean `{n}`?"));
            let place = Place::Variable(name);
            let message = "this variable overrides no setting";
            self.findings
                .push(Finding::error(place, message).with_help(help));
        }
        self.findings.sort_by_key(Finding::rank);
    }

    pub fn refuse(&mut self, place: Place, message: impl Into<String>) {
        self.findings.push(Finding::error(place, message));
    }

    fn place(&self, span: Range<usize>, secret: bool) -> Place {
        Place::Text(Position::of(self.text, span, secret))
    }
}

impl Section<'_, '_> {
    /// A setting that has a default. After a finding the default is given back, so that reading can go on.
    pub fn read<K: Kind>(&mut self, key: &'static str, kind: &K, default: K::Value) -> K::Value {
        let shown = kind.show(&default);
        self.take(key, kind, &shown).unwrap_or(default)
    }

    /// A setting that may be absent.
    pub fn read_optional<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<K::Value> {
        self.take(key, kind, "")
    }

    /// A setting that must be there. None: it is not, or it is wrong, and there is a finding.
    pub fn read_required<K: Kind>(&mut self, key: &'static str, kind: &K) -> Option<K::Value> {
        let before = self.reader.findings.len();
        let value = self.take(key, kind, "");
        if value.is_none() && self.reader.findings.len() == before {
            let variable = self.variable(key);
            let help = format!("write it there, or set {variable}");
            let message = format!("the key `{key}` is missing in [{}]", self.name);
            let finding = Finding::error(self.header.clone(), message);
            self.reader.findings.push(finding.with_help(Some(help)));
        }
        value
    }

    /// Where the setting was given; the section's header if it was not.
    pub fn place(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.header).clone()
    }

    pub fn refuse(&mut self, place: Place, message: impl Into<String>) {
        self.reader.refuse(place, message);
    }

    pub fn add(&mut self, finding: Finding) {
        self.reader.findings.push(finding);
    }

    /// Reports the keys that nobody read. To be called last.
    pub fn finish(self) {
        for (key, _) in self.table.iter().flat_map(|t| t.iter()) {
            let name = key.get_ref().as_ref();
            if !self.keys.contains(&name) {
                let place = self.reader.place(key.span(), false);
                let message = format!("unknown key `{}` in [{}]", name.escape_debug(), self.name);
                let help = suggestion(name, &self.keys, "the keys here are");
                self.reader
                    .findings
                    .push(Finding::error(place, message).with_help(Some(help)));
            }
        }
    }

    fn variable(&self, key: &str) -> String {
        format!("{VARIABLE_PREFIX}{}__{}", self.name, key).to_uppercase()
    }

    /// Both places are read even if the variable wins, so that a wrong value in the file is found before it matters.
    fn take<K: Kind>(&mut self, key: &'static str, kind: &K, default: &str) -> Option<K::Value> {
        self.keys.push(key);
        let mut taken = None;
        if let Some(value) = self.table.and_then(|table| find(table, key)) {
            let place = self.reader.place(value.span(), kind.secret());
            if let Place::Text(position) = &place {
                let line = position.line;
                taken = self.accept(
                    key,
                    kind.toml(value.get_ref()),
                    Origin::File { line },
                    &place,
                );
            }
        }
        let variable = self.variable(key);
        let bare = variable.strip_prefix(VARIABLE_PREFIX).unwrap_or(&variable);
        if let Some(text) = self.reader.variables.get(bare).copied() {
            let place = Place::Variable(variable.clone());
            let origin = Origin::Variable(variable.clone());
            taken = self
                .accept(key, kind.variable(text), origin, &place)
                .or(taken);
        }
        self.reader.known_variables.insert(variable);
        let value = taken.as_ref().map(|(value, _)| kind.show(value));
        let origin = taken.as_ref().map(|(_, origin)| origin.clone());
        self.reader.settings.push(Setting {
            name: format!("{}.{key}", self.name),
            value: value.unwrap_or_else(|| default.to_owned()),
            default: default.to_owned(),
            origin: origin.unwrap_or(Origin::Default),
        });
        taken.map(|(value, _)| value)
    }

    fn accept<T>(
        &mut self,
        key: &'static str,
        value: Result<T, Vec<Wrong>>,
        origin: Origin,
        place: &Place,
    ) -> Option<(T, Origin)> {
        match value {
            Ok(value) => {
                self.places.insert(key, place.clone());
                Some((value, origin))
            }
            Err(list) => {
                for wrong in list {
                    let place = match wrong.span {
                        Some(span) => self.reader.place(span, false),
                        None => place.clone(),
                    };
                    let message = format!("{}.{key}: {}", self.name, wrong.message);
                    let finding = Finding::error(place, message).with_help(wrong.help);
                    self.reader.findings.push(finding);
                }
                None
            }
        }
    }
}

fn find<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t Value<'a>> {
    let found = table.iter().find(|(k, _)| k.get_ref().as_ref() == key);
    found.map(|(_, value)| value)
}

fn of(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::Array(_) => "an array without tables",
        other => other.type_str(),
    }
}

fn suggestion(name: &str, known: &[&'static str], all: &str) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{all} {}", known.join(", ")),
    }
}

/// The known name that `name` is probably a slip of.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let score = |k: &&'n str| (strsim::damerau_levenshtein(name, k), *k);
    let (distance, found) = known.iter().map(score).min()?;
    (distance <= 1 + found.len() / 5).then_some(found)
}
