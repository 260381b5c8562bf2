//! Query strings: every parameter known, none given twice unless it is a list.

use axum::extract::FromRequestParts;
use http::request::Parts;
use keyrealm_base::ProblemCode;

use crate::Problem;

/// The decoded parameters, in order.
pub struct Query(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// Refuses parameters beside these; those that end in `[]` are lists and may be repeated.
    ///
    /// # Errors
    /// Naming the parameter and what is allowed.
    pub fn only(&self, allowed: &[&str]) -> Result<(), Problem> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            let shown: String = name.chars().take(40).collect();
            if !allowed.contains(&name.as_str()) {
                let allowed = allowed.join(", ");
                return Err(Problem::new(
                    ProblemCode::InvalidQuery,
                    format!("`{shown}` is unknown; allowed: {allowed}"),
                ));
            }
            if !name.ends_with("[]") && self.0.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Problem::new(ProblemCode::InvalidQuery, format!("`{shown}` is given twice")));
            }
        }
        Ok(())
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a list.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}
