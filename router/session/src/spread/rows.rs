//! The rows of RETURNING and the tag: one answer of all parts.

use super::Spreading;
use bytes::BytesMut;
use shardgate_plan::Returns;
use shardgate_wire::PgError;
use shardgate_wire::backend::put as reply;

impl Spreading {
    /// Before anything is committed: the parts fit together.
    pub(super) fn complete(&self) -> Result<(), PgError> {
        self.tag()?;
        if let Returns::EachRow(order) = &self.spread.returns {
            let given = |shard| {
                let index = self
                    .spread
                    .parts
                    .iter()
                    .position(|part| part.shard == shard);
                order.iter().filter(|part| Some(**part) == index).count()
            };
            let wrong = self
                .members
                .iter()
                .find(|member| member.part && member.rows.len() != given(member.shard));
            if let Some(member) = wrong {
                return Err(PgError::error(
                    "XX000",
                    format!(
                        "shard \"{}\" returned another number of rows than it was given",
                        member.name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn tag(&self) -> Result<String, PgError> {
        let tags = self.members.iter().filter(|member| member.part);
        shardgate_merge::combine(tags.map(|member| member.part_tag.as_str())).map_err(|error| {
            PgError::error("XX000", "the shards did not answer alike").detail(error.to_string())
        })
    }

    /// The whole answer: in the extended protocol the columns were described before.
    pub(super) fn answer(&self, bytes: &mut BytesMut) {
        if let (true, Some(description)) = (self.execution.is_simple(), &self.description) {
            bytes.extend_from_slice(description);
        }
        let max = usize::try_from(self.execution.max_rows).unwrap_or(0);
        let mut told = 0;
        let mut tell = |row: &[u8]| {
            if max == 0 || told < max {
                bytes.extend_from_slice(row);
                told += 1;
            }
        };
        match &self.spread.returns {
            Returns::EachRow(order) => {
                let mut parts: Vec<_> = self
                    .spread
                    .parts
                    .iter()
                    .map(|part| {
                        let member = self
                            .members
                            .iter()
                            .find(|member| member.shard == part.shard);
                        member
                            .map(|member| member.rows.as_slice())
                            .unwrap_or_default()
                            .iter()
                    })
                    .collect();
                for index in order {
                    if let Some(row) = parts.get_mut(*index).and_then(Iterator::next) {
                        tell(row);
                    }
                }
            }
            Returns::AnyOrder | Returns::Nothing => {
                for member in &self.members {
                    member.rows.iter().for_each(|row| tell(row));
                }
            }
        }
        if max > 0 && told == max {
            // As a portal of one server, which has more rows, or does not know yet that it has none.
            reply::portal_suspended(bytes);
        } else {
            reply::command_complete(bytes, &self.tag().unwrap_or_default());
        }
    }
}
