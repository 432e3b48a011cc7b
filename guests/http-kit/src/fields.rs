//! Header fields.

use wasip2::http::types::Fields;

use crate::Error;

/// The fields with these names and values.
pub(crate) fn fields<N: AsRef<str>, V: AsRef<str>>(headers: &[(N, V)]) -> Result<Fields, Error> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields
            .append(name.as_ref(), value.as_ref().as_bytes())
            .map_err(|error| Error::Header {
                name: name.as_ref().to_owned(),
                error,
            })?;
    }
    Ok(fields)
}

/// The first value of a header field, where it is text.
pub fn header(fields: &Fields, name: &str) -> Option<String> {
    String::from_utf8(fields.get(name).into_iter().next()?).ok()
}

/// Every header field with its value; bytes that are not UTF-8 are replaced.
pub fn header_pairs(fields: &Fields) -> Vec<(String, String)> {
    fields
        .entries()
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect()
}
