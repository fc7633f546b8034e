//! What the workload prints: a few plain lines for each identity.

use std::io::Write;

use anyhow::Result;
use spiffe::{JwtSvid, X509Svid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints an X.509-SVID whose chain has been verified.
pub(crate) fn x509(
    svid: &X509Svid,
    expiry: OffsetDateTime,
    authorities: usize,
    out: &mut impl Write,
) -> Result<()> {
    let domain = svid.spiffe_id().trust_domain();
    writeln!(out, "X.509-SVID  {}", svid.spiffe_id())?;
    writeln!(out, "  expires   {}", expiry.format(&Rfc3339)?)?;
    writeln!(
        out,
        "  chain     verified against the trust bundle of {domain} ({authorities} in it)"
    )?;
    Ok(out.flush()?)
}

/// Prints a JWT-SVID that the agent has validated, without the token itself.
pub(crate) fn jwt(svid: &JwtSvid, out: &mut impl Write) -> Result<()> {
    writeln!(out, "JWT-SVID    {}", svid.spiffe_id())?;
    writeln!(out, "  expires   {}", svid.expiry().format(&Rfc3339)?)?;
    writeln!(out, "  audience  {}", svid.audience().join(", "))?;
    Ok(out.flush()?)
}
