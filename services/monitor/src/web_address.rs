//! The form of an address that others are asked, or led to.

/// Whether it is of the web, and one word.
pub(crate) fn is_web_address(text: &str) -> bool {
    let web = text.starts_with("http://") || text.starts_with("https://");
    web && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
