//! What has each request of a session come to the host that opened it, where there are several behind one address.

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

/// Names the session, in the answer that opened it and in each request of it. A balancer may have put another value there.
const SESSION: HeaderName = HeaderName::from_static("hypervisor-session");
/// Bytes of what is repeated, at most.
const MOST: usize = 4096;

/// What the answer that opened a session asked to be repeated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affinity {
    session: Option<HeaderValue>,
    cookies: Option<HeaderValue>,
}

impl Affinity {
    /// What an answer asks for: its header as it came, and the cookies of whoever stands in front of the host.
    pub(crate) fn of(answer: &HeaderMap) -> Self {
        let short = |value: &&HeaderValue| value.len() <= MOST;
        let cookies = answer.get_all(SET_COOKIE).iter();
        let pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let pairs: Vec<&str> = pairs
            .map(str::trim)
            .filter(|pair| pair.contains('='))
            .collect();
        let cookies = HeaderValue::from_str(&pairs.join("; ")).ok();
        Self {
            session: answer.get(SESSION).filter(short).cloned(),
            cookies: cookies.filter(|it| !it.is_empty() && it.len() <= MOST),
        }
    }

    /// The fields of a request.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        let session = self.session.as_ref().map(|value| (SESSION, value));
        let cookies = self.cookies.as_ref().map(|value| (COOKIE, value));
        session.into_iter().chain(cookies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(fields: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let mut answer = HeaderMap::new();
        for (name, value) in fields {
            answer.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let of = Affinity::of(&answer);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        of.fields()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn what_an_answer_asks_for_is_repeated_as_it_came() {
        let all = repeated(&[
            ("hypervisor-session", "a-balancers-own"),
            ("set-cookie", "node=a; Path=/; HttpOnly"),
            ("set-cookie", "zone=1"),
            ("x-other", "1"),
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("hypervisor-session", "a-balancers-own"),
            pair("cookie", "node=a; zone=1"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn nothing_is_repeated_that_nobody_asked_for_or_that_is_too_long() {
        assert!(repeated(&[]).is_empty());
        let long = "x".repeat(MOST + 1);
        let cookie = format!("a={long}");
        assert!(repeated(&[("hypervisor-session", &long), ("set-cookie", &cookie)]).is_empty());
        assert!(repeated(&[("set-cookie", "; Path=/")]).is_empty());
    }
}
