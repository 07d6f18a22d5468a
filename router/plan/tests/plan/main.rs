//! Statements against a fixed catalog: where each goes, or that it is refused. The real analysis runs; see `fixture`
//! for the catalog and the notation.

mod fixture;

mod blind;
mod calls;
mod ctes;
mod ddl;
mod explain;
mod from_nothing;
mod gather;
mod home;
mod inserts;
mod joins;
mod moving;
mod predicates;
mod refused;
mod subqueries;
mod traits;
mod values;
mod views;
