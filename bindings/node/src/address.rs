//! A client's address, as a limiter's key.

use crate::failure::{Answer, Failure};
use crate::function::Call;
use crate::js::{Env, Type, Value};
use crate::options::{name, Options};
use crate::text;
use forebay::{ClientAddress, Error};

/// `clientAddress(peer, {forwardedFor, trustedHops, ipv6Prefix})`
pub fn client_address<'e>(_: &(), call: &Call<'e>) -> Answer<'e> {
    const KNOWN: &[&str] = &["forwardedFor", "trustedHops", "ipv6Prefix"];
    let env = call.env;
    let [peer, options, ..] = call.arguments;
    let peer = name(env, peer, "peer")?;
    let (mut forwarded, mut hops, mut prefix) = (String::new(), 0, 64);
    if let Some(options) = Options::read(env, options, KNOWN)? {
        if let Some(value) = options.value("forwardedFor")? {
            forwarded = forwarded_for(env, value)?;
        }
        if let Some(n) = options.count("trustedHops")? {
            hops = usize::try_from(n).unwrap_or(usize::MAX);
        }
        if let Some(n) = options.count("ipv6Prefix")? {
            // The core's own words for what it takes no more of.
            prefix = u8::try_from(n).map_err(|_| Error::invalid("ipv6_prefix", n, "0 to 128"))?;
        }
    }
    let address = ClientAddress::behind(&peer, &forwarded, hops)?.ipv6_prefix(prefix)?;
    env.string(address.to_string().as_bytes())
}

/// One header, or several of them, which are one when joined.
fn forwarded_for<'e>(env: Env<'e>, value: Value<'e>) -> Result<String, Failure> {
    let header = |value| -> Result<String, Failure> {
        match text::to_string(env, value, "forwardedFor")? {
            Some(header) => Ok(header),
            None => Err(Failure::of_type(
                "forwardedFor",
                env.type_of(value)?.name(),
                "the header X-Forwarded-For, or an array of such headers",
            )),
        }
    };
    if env.type_of(value)? != Type::Array {
        return header(value);
    }
    let headers = (0..env.array_len(value)?)
        .map(|i| header(env.element(value, i)?))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(headers.join(","))
}
