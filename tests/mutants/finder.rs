//! Finds the sites of one source: walks its functions as syntax, and leaves out what is no production or not evaluated
//! at run time (tests, constants, types, patterns, macros).

use std::collections::BTreeSet;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, BinOp, Block, Expr, ExprBinary, ExprIf, ExprMatch, Lit, Pat, Stmt, Type, UnOp,
};

use crate::operators::{
    Fixed, PREDICATES, compared, computed, constant, is_comparison, literal, said_by_comparison,
};
use crate::site::{Change, Shape, Site};
use crate::syntax::{Gives, catches_all, has_let, is_for_tests};

/// The sites of `source`, whose syntax is `file`. `constants` are the names of integer constants.
pub(crate) fn find(source: &str, file: &syn::File, constants: &BTreeSet<String>) -> Vec<Site> {
    let mut finder = Finder {
        source,
        constants,
        scope: Vec::new(),
        gives: Gives::Other,
        is_check: false,
        said: Vec::new(),
        sites: Vec::new(),
    };
    finder.visit_file(file);
    finder.sites
}

struct Finder<'a> {
    source: &'a str,
    constants: &'a BTreeSet<String>,
    scope: Vec<String>,
    /// What the function around gives.
    gives: Gives,
    /// Whether what is being visited decides over a refusal.
    is_check: bool,
    /// Bounds with the step that the comparison says already.
    said: Vec<(usize, i8)>,
    sites: Vec<Site>,
}

impl Finder<'_> {
    fn text(&self, spanned: &impl Spanned) -> &str {
        let range = spanned.span().byte_range();
        self.source.get(range).unwrap_or_default()
    }

    /// Whether a refusal is made somewhere inside.
    fn refuses(&self, spanned: &impl Spanned) -> bool {
        let text = self.text(spanned);
        REFUSALS.iter().any(|word| text.contains(word))
    }

    fn add(&mut self, range: Range<usize>, shape: Shape, changes: Vec<Change>) {
        if changes.is_empty() || range.is_empty() {
            return;
        }
        let known = self
            .sites
            .iter_mut()
            .find(|site| site.range == range && site.shape == shape);
        if let Some(site) = known {
            for change in changes {
                if site
                    .changes
                    .iter()
                    .all(|known| known.operator != change.operator)
                {
                    site.changes.push(change);
                }
            }
            return;
        }
        self.sites.push(Site {
            range,
            shape,
            function: self.scope.join("::"),
            is_check: self.is_check,
            changes,
        });
    }

    fn change(&mut self, expression: &Expr, changes: Vec<Change>) {
        self.add(expression.span().byte_range(), Shape::Expression, changes);
    }

    /// `left operator right` with another operator.
    fn with_operator(&self, binary: &ExprBinary, operator: &str) -> String {
        let (left, right) = (self.text(&binary.left), self.text(&binary.right));
        match binary.op {
            BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_) => {
                format!("{left} {operator} ({right})")
            }
            _ => format!("({left}) {operator} ({right})"),
        }
    }

    fn function(
        &mut self,
        name: String,
        signature: &syn::Signature,
        attributes: &[Attribute],
        body: &Block,
    ) {
        if signature.constness.is_some() || is_for_tests(attributes) {
            return;
        }
        let outer = std::mem::replace(&mut self.gives, Gives::of(&signature.output));
        self.scope.push(name);
        self.block(body, self.gives);
        self.scope.pop();
        self.gives = outer;
    }

    /// A block whose last expression is what is given.
    fn block(&mut self, block: &Block, gives: Gives) {
        let Some((last, before)) = block.stmts.split_last() else {
            return;
        };
        for statement in before {
            self.visit_stmt(statement);
        }
        match last {
            Stmt::Expr(expression, None) => self.given(expression, gives),
            _ => self.visit_stmt(last),
        }
    }

    /// An expression that is what a function gives, or an arm of it.
    fn given(&mut self, expression: &Expr, gives: Gives) {
        match (expression, gives) {
            (_, Gives::Other) => self.visit_expr(expression),
            (Expr::If(branch), _) => self.branch(branch, gives),
            (Expr::Match(choice), _) => self.choice(choice, gives),
            (Expr::Block(block), _) => self.block(&block.block, gives),
            (_, Gives::Truth) => self.truth(expression, Fixed::BOTH),
            (Expr::Call(_) | Expr::MethodCall(_) | Expr::Await(_), Gives::UnitResult) => {
                let text = self.text(expression);
                if !text.starts_with("Ok(") && !text.starts_with("Err(") {
                    let outer = std::mem::replace(&mut self.is_check, true);
                    self.change(expression, vec![Change::new("Ok(())", "Ok(())")]);
                    self.is_check = outer;
                }
                self.visit_expr(expression);
            }
            (_, Gives::UnitResult) => self.visit_expr(expression),
        }
    }

    fn branch(&mut self, branch: &ExprIf, gives: Gives) {
        let refuses = self.refuses(&branch.then_branch)
            || branch
                .else_branch
                .as_ref()
                .is_some_and(|(_, other)| !matches!(**other, Expr::If(_)) && self.refuses(other));
        self.deciding(refuses, |finder| finder.truth(&branch.cond, Fixed::BOTH));
        self.block(&branch.then_branch, gives);
        if let Some((_, other)) = &branch.else_branch {
            self.given(other, gives);
        }
    }

    fn choice(&mut self, choice: &ExprMatch, gives: Gives) {
        self.visit_expr(&choice.expr);
        let refuses = choice.arms.iter().any(|arm| self.refuses(&arm.body));
        let rest = choice.arms.last().filter(|arm| catches_all(arm));
        let last = choice.arms.len().saturating_sub(1);
        for (index, arm) in choice.arms.iter().enumerate() {
            if let Some((_, guard)) = &arm.guard {
                self.deciding(refuses, |finder| finder.truth(guard, Fixed::BOTH));
            } else if let Some(rest) = rest
                && index < last
                && self.text(&rest.body) != self.text(&arm.body)
            {
                self.deciding(refuses, |finder| {
                    let range = arm.pat.span().byte_range();
                    finder.add(range, Shape::Arm, vec![Change::new("no arm", "")]);
                });
            }
            self.given(&arm.body, gives);
        }
    }

    fn deciding(&mut self, refuses: bool, visit: impl FnOnce(&mut Self)) {
        let is_check = refuses || self.is_check;
        let outer = std::mem::replace(&mut self.is_check, is_check);
        visit(self);
        self.is_check = outer;
    }

    /// An expression that is true or false.
    fn truth(&mut self, expression: &Expr, fixed: Fixed) {
        match expression {
            Expr::Paren(paren) => self.truth(&paren.expr, fixed),
            Expr::Let(matched) => {
                let range = matched.span().byte_range();
                self.add(range, Shape::Let, vec![Change::new("no match", "")]);
                self.visit_expr(&matched.expr);
            }
            Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
                if has_let(expression) {
                    self.truth(&binary.left, Fixed::TRUE);
                    self.truth(&binary.right, Fixed::TRUE);
                } else {
                    self.joined(
                        binary,
                        fixed,
                        Change::new("&& to ||", self.with_operator(binary, "||")),
                    );
                    self.truth(&binary.left, Fixed::TRUE);
                    self.truth(&binary.right, Fixed::TRUE);
                }
            }
            Expr::Binary(binary) if matches!(binary.op, BinOp::Or(_)) => {
                self.joined(
                    binary,
                    fixed,
                    Change::new("|| to &&", self.with_operator(binary, "&&")),
                );
                self.truth(&binary.left, Fixed::FALSE);
                self.truth(&binary.right, Fixed::FALSE);
            }
            Expr::Binary(binary) if is_comparison(&binary.op) => {
                let mut changes = fixed.changes();
                if let Some((name, operator)) = compared(&binary.op, fixed) {
                    changes.push(Change::new(name, self.with_operator(binary, operator)));
                }
                self.change(expression, changes);
                if let Some(step) = said_by_comparison(&binary.op)
                    && matches!(*binary.right, Expr::Lit(_) | Expr::Path(_))
                {
                    self.said
                        .push((binary.right.span().byte_range().start, step));
                }
                self.visit_expr(&binary.left);
                self.visit_expr(&binary.right);
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let mut changes = fixed.changes();
                changes.push(Change::new("no !", self.text(&unary.expr)));
                self.change(expression, changes);
                self.truth(&unary.expr, Fixed::NEITHER);
            }
            Expr::Lit(_) => self.visit_expr(expression),
            Expr::If(branch) => self.branch(branch, Gives::Truth),
            Expr::Match(choice) => self.choice(choice, Gives::Truth),
            Expr::Block(block) => self.block(&block.block, Gives::Truth),
            _ => {
                self.change(expression, fixed.changes());
                self.visit_expr(expression);
            }
        }
    }

    fn joined(&mut self, binary: &ExprBinary, fixed: Fixed, swapped: Change) {
        let mut changes = fixed.changes();
        changes.push(swapped);
        self.add(binary.span().byte_range(), Shape::Expression, changes);
    }

    fn skip_statement(&mut self, statement: &Stmt, is_check: bool) {
        let range = statement.span().byte_range();
        self.deciding(is_check, |finder| {
            finder.add(range, Shape::Statement, vec![Change::new("skip", "")]);
        });
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(
            item.sig.ident.to_string(),
            &item.sig,
            &item.attrs,
            &item.block,
        );
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(
            item.sig.ident.to_string(),
            &item.sig,
            &item.attrs,
            &item.block,
        );
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(item.sig.ident.to_string(), &item.sig, &item.attrs, body);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.scope.push(name.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.scope.pop();
    }

    // Not evaluated at run time.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_item_struct(&mut self, _: &'ast syn::ItemStruct) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_path_arguments(&mut self, _: &'ast syn::PathArguments) {}
    fn visit_angle_bracketed_generic_arguments(
        &mut self,
        _: &'ast syn::AngleBracketedGenericArguments,
    ) {
    }
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Expr(expression, Some(_)) => match expression {
                Expr::Try(_) => self.skip_statement(statement, true),
                Expr::Call(_) | Expr::MethodCall(_) | Expr::Await(_) | Expr::Assign(_) => {
                    self.skip_statement(statement, false);
                }
                Expr::Binary(binary) if computed(&binary.op).is_some() => {
                    self.skip_statement(statement, false);
                }
                _ => {}
            },
            Stmt::Macro(call) if call.semi_token.is_some() => {
                self.skip_statement(statement, false);
            }
            _ => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_if(&mut self, branch: &'ast ExprIf) {
        self.branch(branch, Gives::Other);
    }

    fn visit_expr_match(&mut self, choice: &'ast ExprMatch) {
        self.choice(choice, Gives::Other);
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        self.truth(&repeated.cond, Fixed::BOTH);
        self.visit_block(&repeated.body);
    }

    fn visit_expr_return(&mut self, given: &'ast syn::ExprReturn) {
        if let Some(expression) = &given.expr {
            self.given(expression, self.gives);
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        let outer = std::mem::replace(&mut self.gives, Gives::of(&closure.output));
        self.given(&closure.body, self.gives);
        self.gives = outer;
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        let outer = std::mem::replace(&mut self.gives, Gives::Other);
        self.visit_block(&block.block);
        self.gives = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let is_predicate = PREDICATES.iter().any(|name| call.method == name);
        for argument in &call.args {
            match argument {
                Expr::Closure(closure) if is_predicate => {
                    let outer = std::mem::replace(&mut self.gives, Gives::Truth);
                    self.given(&closure.body, Gives::Truth);
                    self.gives = outer;
                }
                _ => self.visit_expr(argument),
            }
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        if matches!(binary.op, BinOp::And(_) | BinOp::Or(_)) || is_comparison(&binary.op) {
            // Through the whole expression, since `truth` looks at its kind.
            self.truth(&Expr::Binary(binary.clone()), Fixed::BOTH);
            return;
        }
        // Texts are joined by `+` and by nothing else.
        let is_text = self.text(binary).contains('"');
        if let Some((name, operator)) = computed(&binary.op).filter(|_| !is_text) {
            let change = Change::new(name, self.with_operator(binary, operator));
            self.add(binary.span().byte_range(), Shape::Expression, vec![change]);
        }
        self.visit_expr(&binary.left);
        self.visit_expr(&binary.right);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if matches!(unary.op, UnOp::Not(_)) {
            let change = Change::new("no !", self.text(&unary.expr));
            self.add(unary.span().byte_range(), Shape::Expression, vec![change]);
        }
        self.visit_expr(&unary.expr);
    }

    fn visit_expr_macro(&mut self, call: &'ast syn::ExprMacro) {
        if call.mac.path.is_ident("matches") {
            self.add(
                call.span().byte_range(),
                Shape::Expression,
                Fixed::BOTH.changes(),
            );
        }
    }

    fn visit_expr_lit(&mut self, value: &'ast syn::ExprLit) {
        let range = value.span().byte_range();
        let changes = literal(value);
        self.bounded(range, changes, matches!(value.lit, Lit::Int(_)));
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let is_constant = path
            .path
            .segments
            .last()
            .is_some_and(|last| self.constants.contains(&last.ident.to_string()));
        if is_constant {
            let changes = constant(self.text(path));
            self.bounded(path.span().byte_range(), changes, true);
        }
    }

    fn visit_expr_reference(&mut self, reference: &'ast syn::ExprReference) {
        // A table that lives as long as the program cannot be chosen at run time.
        if !matches!(*reference.expr, Expr::Array(_) | Expr::Lit(_)) {
            visit::visit_expr_reference(self, reference);
        }
    }
}

impl Finder<'_> {
    /// Adds the neighbours of a number, without the one that a comparison says.
    fn bounded(&mut self, range: Range<usize>, changes: Vec<Change>, is_number: bool) {
        let said = self
            .said
            .iter()
            .find(|(start, _)| is_number && *start == range.start)
            .map(|(_, step)| if *step > 0 { "+ 1" } else { "- 1" });
        let changes = changes
            .into_iter()
            .filter(|change| Some(change.operator) != said)
            .collect();
        self.add(range, Shape::Expression, changes);
    }
}

/// Words that stand where a refusal is made.
const REFUSALS: [&str; 5] = ["Err(", "Reason::", "Malformed::", "None", "false"];
