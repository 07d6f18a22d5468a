//! Views: resolved to their bodies.

use crate::fixture::*;
use std::sync::Arc;

#[test]
fn views() {
    check_lines(
        "
        SELECT * FROM active WHERE id = {a} => a
        SELECT * FROM public.active v WHERE v.id = {a} => a
        SELECT active.name FROM active WHERE active.id = {a} => a
        SELECT * FROM totals WHERE user_id = {a} => a
        SELECT * FROM user_orders WHERE id = {a} => a
        SELECT * FROM nested WHERE key = {a} => a
        SELECT * FROM active JOIN orders o ON o.user_id = active.id WHERE o.user_id = {a} => a
        SELECT * FROM active AS v(k) WHERE k = {a} => a
        SELECT * FROM note_view => home
        SELECT * FROM mixed => refused
        SELECT * FROM blind => refused
        UPDATE note_view SET body = 'x' => home
        ",
    );
    refused(
        "
        SELECT * FROM active
        SELECT * FROM active WHERE name = 'x'
        SELECT * FROM totals
        SELECT * FROM totals WHERE sum = {a}
        SELECT * FROM everyone
        SELECT * FROM everyone, users WHERE users.id = {a}
        SELECT * FROM first_ten WHERE id = {a}
        SELECT * FROM user_orders WHERE oid = {a}
        SELECT * FROM nested
        SELECT * FROM nested WHERE id = {a}
        SELECT * FROM users, blind WHERE users.id = {a}
        UPDATE active SET name = 'x' WHERE id = {a}
        DELETE FROM active WHERE id = {a}
        INSERT INTO active (id) VALUES ({a})
        INSERT INTO country_view VALUES ('x')
        UPDATE blind SET id = 1
        ",
    );
}

/// A view's names do not depend on the session's path or temporary tables.
#[test]
fn views_have_a_path_of_their_own() {
    let fixture = Fixture::with(|f| {
        f.search_path = Some(vec!["other".into(), "public".into()]);
        f.temporary.insert("users".into());
    });
    fixture.check("SELECT * FROM active", &[], "refused");
    fixture.check("SELECT * FROM active WHERE id = {a}", &[], "a");
}

#[test]
fn a_blind_view_alone_is_fine_without_distributed_tables() {
    let fixture = Fixture::with(|f| {
        for relations in f.snapshot.relations.values_mut() {
            relations.retain(|_, relation| {
                relation.placement == shardgate_plan::snapshot::Placement::Home
            });
        }
    });
    fixture.check("SELECT * FROM blind", &[], "home");
    fixture.check("DO $$ BEGIN END $$", &[], "home");
    fixture.check("CALL f()", &[], "home");
}

/// A view that only the home shard has, or that it alone has in this form.
#[test]
fn views_of_the_home_shard() {
    let fixture = Fixture::with(|f| {
        let names = f.snapshot.relations.get_mut("public").unwrap();
        for view in ["active", "country_view"] {
            Arc::make_mut(names.get_mut(view).unwrap()).everywhere = false;
        }
    });
    check_lines_with(
        &fixture,
        "
        SELECT * FROM active WHERE id = {a} => refused: view \"active\" lives on home
        SELECT * FROM active WHERE id = {h} => home
        SELECT * FROM nested WHERE key = {a} => refused: active
        SELECT * FROM country_view => home
        SELECT * FROM users, country_view WHERE id = {a} => refused: country_view
        CREATE VIEW v AS SELECT * FROM active => refused
        CREATE OR REPLACE VIEW active AS SELECT * FROM users => all
        DROP VIEW active => home
        ",
    );
    check_lines("SELECT * FROM country_view => any");
}
