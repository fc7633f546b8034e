//! How the sources compare what is secret: in constant time, or the time tells how near a guess was.

use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ExprBinary, ExprMethodCall, File};

use crate::house_sources::production;
use crate::none_of;

/// What holds an HMAC or a secret wherever it is compared.
const SECRET: [&str; 4] = ["proof", "binding", "extra_data", "hmac"];

/// Where a peer's guess meets the truth: each compares in constant time.
const MEETINGS: [&str; 5] = [
    "src/evidence/transcript.rs",
    "src/tpm/operations.rs",
    "src/tpm/session.rs",
    "src/verify/quote.rs",
    "src/verify/session.rs",
];

#[derive(Default)]
struct Comparisons {
    plain: Vec<String>,
    constant_time: usize,
}

impl<'ast> Visit<'ast> for Comparisons {
    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        if matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_)) {
            for side in [&binary.left, &binary.right] {
                self.plain.extend(secret_in(side));
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.constant_time += usize::from(call.method == "ct_eq");
        visit::visit_expr_method_call(self, call);
    }
}

/// The secret that an expression stands for, if it does.
fn secret_in(side: &Expr) -> Option<String> {
    let name = match side {
        Expr::Path(path) => path.path.get_ident()?.to_string(),
        Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(_) => return None,
        },
        Expr::Reference(inner) => return secret_in(&inner.expr),
        Expr::Unary(inner) => return secret_in(&inner.expr),
        Expr::Paren(inner) => return secret_in(&inner.expr),
        Expr::MethodCall(call) if call.method != "len" => return secret_in(&call.receiver),
        Expr::Index(inner) => return secret_in(&inner.expr),
        _ => return None,
    };
    SECRET.contains(&name.as_str()).then_some(name)
}

fn comparisons(file: &File) -> Comparisons {
    let mut found = Comparisons::default();
    found.visit_file(file);
    found
}

#[test]
fn secrets_are_compared_in_constant_time() {
    let mut plain = Vec::new();
    let mut meetings = Vec::new();
    for (file, mut syntax) in production() {
        let is_ours = ["evidence", "tpm", "verify", "agent", "server"]
            .iter()
            .any(|name| file.path.starts_with(&format!("src/{name}/")));
        if !is_ours {
            continue;
        }
        syntax
            .items
            .retain(|item| !matches!(item, syn::Item::Mod(_)));
        let found = comparisons(&syntax);
        plain.extend(
            found
                .plain
                .iter()
                .map(|name| format!("{}: {name}", file.path)),
        );
        if found.constant_time > 0 {
            meetings.push(file.path);
        }
    }
    none_of("tpm/D09: plain comparisons of what is secret", &plain);
    assert_eq!(meetings, MEETINGS, "tpm/D09");
}

#[test]
fn plain_comparisons_are_seen() {
    for (source, is_plain) in [
        ("fn f() { proof == other; }", true),
        ("fn f() { answer.proof != *other; }", true),
        ("fn f() { other == &self.hmac[..]; }", true),
        ("fn f() { attest.extra_data.as_slice() == binding; }", true),
        ("fn f() { bool::from(hmac.ct_eq(other)); }", false),
        ("fn f() { proof.log == None; }", false),
    ] {
        let found = comparisons(&syn::parse_file(source).unwrap());
        assert_eq!(!found.plain.is_empty(), is_plain, "{source}");
    }
}
