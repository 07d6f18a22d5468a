//! Expressions with a grammar of their own: LIKE, TRIM, EXTRACT and their kin.

use super::expr::other;
use super::function::bare_call;
use super::{Lower, Lowered, label, unsupported};
use crate::facts::Expr;
use sqlparser::ast::Expr as Sp;

impl Lower<'_> {
    /// LIKE is the operator `~~`, which a user may have made anew.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn pattern(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        let (op, any, expr, pattern, escape) = match *expr {
            Sp::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => (
                if negated { "!~~" } else { "~~" },
                any,
                expr,
                pattern,
                escape_char,
            ),
            Sp::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => (
                if negated { "!~~*" } else { "~~*" },
                any,
                expr,
                pattern,
                escape_char,
            ),
            Sp::SimilarTo {
                negated,
                expr,
                pattern,
                escape_char,
            } => {
                let mut children = vec![self.unboxed(pattern)?];
                children.extend(self.optional_boxed(escape_char)?);
                let right = Box::new(other("similar to", children));
                let op = if negated { "!~" } else { "~" }.to_owned();
                return Ok(Expr::Binary {
                    op,
                    schema: None,
                    left: self.boxed(expr)?,
                    right,
                });
            }
            _ => return unsupported("a pattern"),
        };
        let (op, left) = (op.to_owned(), self.boxed(expr)?);
        if any {
            if escape.is_some() {
                return unsupported("LIKE ANY with ESCAPE");
            }
            let right = self.quantifier(pattern)?;
            return Ok(Expr::Quantified {
                op,
                schema: None,
                all: false,
                left,
                right,
            });
        }
        let pattern = self.unboxed(pattern)?;
        let right = match self.optional_boxed(escape)? {
            None => pattern,
            Some(escape) => other("escape", vec![pattern, escape]),
        };
        Ok(Expr::Binary {
            op,
            schema: None,
            left,
            right: Box::new(right),
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is refused, not ignored"
    )]
    pub(super) fn syntax(&mut self, expr: Box<Sp>) -> Lowered<Expr> {
        match *expr {
            Sp::AtTimeZone {
                timestamp,
                time_zone,
            } => Ok(other(
                "at time zone",
                vec![self.unboxed(timestamp)?, self.unboxed(time_zone)?],
            )),
            Sp::Extract {
                field: _,
                syntax: _,
                expr,
            } => Ok(other("extract", vec![self.unboxed(expr)?])),
            Sp::Position { expr, r#in } => Ok(other(
                "position",
                vec![self.unboxed(expr)?, self.unboxed(r#in)?],
            )),
            Sp::Substring {
                expr,
                substring_from,
                substring_for,
                special,
                shorthand: _,
            } => {
                let plain = special || (substring_from.is_none() && substring_for.is_none());
                let mut args = vec![self.unboxed(expr)?];
                args.extend(self.optional_boxed(substring_from)?);
                args.extend(self.optional_boxed(substring_for)?);
                // With commas it is an ordinary call, which a user's function may answer.
                Ok(if plain {
                    bare_call("substring", args)
                } else {
                    other("substring", args)
                })
            }
            Sp::Trim {
                trim_where: _,
                trim_what,
                expr,
                trim_characters,
            } => {
                let mut children = vec![self.unboxed(expr)?];
                children.extend(self.optional_boxed(trim_what)?);
                children.extend(self.exprs(trim_characters.unwrap_or_default())?);
                Ok(other("trim", children))
            }
            Sp::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                let mut children = vec![
                    self.unboxed(expr)?,
                    self.unboxed(overlay_what)?,
                    self.unboxed(overlay_from)?,
                ];
                children.extend(self.optional_boxed(overlay_for)?);
                Ok(other("overlay", children))
            }
            Sp::Named { expr, name } => {
                label(name)?;
                self.unboxed(expr)
            }
            _ => unsupported("an expression"),
        }
    }
}
