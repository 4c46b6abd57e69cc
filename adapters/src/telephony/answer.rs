//! What a webhook is answered: stream the call to this address.

use std::fmt::Write as _;

use super::Provider;

/// The document that has `provider` stream a call to `stream_url` (`wss://...`), with parameters that come back in the
/// stream's start.
///
/// ```
/// use rspp_adapters::telephony::{Provider, answer::answer};
///
/// let document = answer(Provider::Twilio, "wss://a.example/s?x=1&y=2", &[("tenant", "acme")]);
/// assert!(document.contains(r#"<Stream url="wss://a.example/s?x=1&amp;y=2">"#));
/// assert!(document.contains(r#"<Parameter name="tenant" value="acme"/>"#));
/// ```
pub fn answer(provider: Provider, stream_url: &str, parameters: &[(&str, &str)]) -> String {
    let url = escaped(stream_url);
    let stream = match provider {
        Provider::Twilio => connected("", &url, parameters),
        // Without a mode it would take MP3 files and no stream.
        Provider::Telnyx => {
            let more = r#" track="inbound_track" codec="PCMU" bidirectionalMode="rtp" bidirectionalCodec="PCMU" bidirectionalSamplingRate="8000""#;
            connected(more, &url, parameters)
        }
        Provider::Plivo => plivo(&url, parameters),
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>{stream}</Response>\n")
}

fn connected(more: &str, url: &str, parameters: &[(&str, &str)]) -> String {
    let mut inner = String::new();
    for (name, value) in parameters {
        let _ = write!(inner, r#"<Parameter name="{}" value="{}"/>"#, escaped(name), escaped(value));
    }
    format!(r#"<Connect><Stream url="{url}"{more}>{inner}</Stream></Connect>"#)
}

/// Its parameters are pairs in one attribute.
fn plivo(url: &str, parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = match &*pairs.join(";") {
        "" => String::new(),
        pairs => format!(r#" extraHeaders="{}""#, escaped(pairs)),
    };
    let kind = r#"bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000""#;
    format!("<Stream {kind}{headers}>{url}</Stream>")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // XML has no place for them, not even escaped.
            sign if sign.is_control() => {}
            sign => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_gets_its_own_document() {
        let answered = |provider| answer(provider, "wss://a.example/s/1", &[("k", "v")]);
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>";
        assert_eq!(
            answered(Provider::Twilio),
            format!(
                "{head}<Connect><Stream url=\"wss://a.example/s/1\"><Parameter name=\"k\" value=\"v\"/></Stream></Connect></Response>\n"
            )
        );
        assert!(answered(Provider::Telnyx).contains("bidirectionalMode=\"rtp\" bidirectionalCodec=\"PCMU\""));
        assert_eq!(
            answered(Provider::Plivo),
            format!(
                "{head}<Stream bidirectional=\"true\" keepCallAlive=\"true\" contentType=\"audio/x-mulaw;rate=8000\" extraHeaders=\"k=v\">wss://a.example/s/1</Stream></Response>\n"
            )
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let nasty = "\"/><Dial>+1555</Dial>\u{0}\n'&";
        for provider in Provider::ALL {
            let document = answer(provider, nasty, &[(nasty, nasty)]);
            assert!(!document.contains("<Dial") && !document.contains('\u{0}'), "{document}");
        }
    }
}
