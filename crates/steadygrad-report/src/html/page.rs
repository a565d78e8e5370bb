//! The frame of every page: policy, styles, script, header and footer.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotly::Plot;

/// The browser refuses every request, whatever the embedded script tries.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
                      style-src 'unsafe-inline'; img-src data: blob:";

/// Everything around a page's sections.
pub(super) struct Page<'a> {
    pub(super) verb: &'a str,
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) headline: &'a str,
    /// Whether the headline is good news.
    pub(super) good: bool,
    /// Below the headline; may be empty.
    pub(super) warning: Markup,
    pub(super) footer: Markup,
}

impl Page<'_> {
    pub(super) fn render(&self, main: Markup) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    link rel="icon" href="data:,";
                    title { (self.name) " · steadygrad" }
                    style { (PreEscaped(include_str!("style.css"))) }
                    (PreEscaped(plotly_script()))
                }
                body {
                    header {
                        p.eyebrow { (self.verb) }
                        h1 { (self.name) }
                        p { (self.description) }
                        p.headline.good[self.good] { (self.headline) }
                        (self.warning)
                    }
                    main { (main) }
                    footer { (self.footer) }
                }
            }
        }
        .into_string()
    }
}

/// Plotly's script alone. In the crate's sources MathJax follows it, which no plot here uses and
/// which loads its fonts from the network.
fn plotly_script() -> String {
    const END: &str = "</script>";
    let mut sources = Plot::offline_js_sources();
    if let Some(end) = sources.find(END) {
        sources.truncate(end + END.len());
    }
    sources
}
