//! Results of calls as JUnit's XML, which every CI shows.

use std::fmt::Write;

use crate::drawing::escaped;

/// One call as a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The call.
    pub name: String,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// What is wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether it could not be tried at all.
    pub is_error: bool,
    /// The class of it.
    pub class: String,
    /// What exactly.
    pub text: String,
}

/// The document.
pub fn junit(suite: &str, cases: &[Case]) -> String {
    let count =
        |errors: bool| cases.iter().filter(|it| it.fault.as_ref().is_some_and(|f| f.is_error == errors)).count();
    let (failures, errors, tests, suite) = (count(false), count(true), cases.len(), escaped(suite));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n\
         <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">"
    );
    for Case { name, fault } in cases {
        let name = escaped(name);
        let _ = write!(out, "<testcase classname=\"{suite}\" name=\"{name}\"");
        match fault {
            None => out.push_str("/>\n"),
            Some(Fault { is_error, class, text }) => {
                let tag = if *is_error { "error" } else { "failure" };
                let first = escaped(text.lines().next().unwrap_or_default());
                let all = text.lines().map(escaped).collect::<Vec<_>>().join("\n");
                let class = escaped(class);
                let _ = writeln!(out, ">\n<{tag} type=\"{class}\" message=\"{first}\">{all}</{tag}>\n</testcase>");
            }
        }
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_says_stays_in_its_place() {
        let fault = Fault { is_error: false, class: "OUTCOME".to_owned(), text: "a < b\nand \"c\"".to_owned() };
        let cases =
            [Case { name: "one".to_owned(), fault: None }, Case { name: "two & three".to_owned(), fault: Some(fault) }];
        assert_eq!(
            junit("calls", &cases),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites tests=\"2\" failures=\"1\" errors=\"0\">\n\
             <testsuite name=\"calls\" tests=\"2\" failures=\"1\" errors=\"0\">\n\
             <testcase classname=\"calls\" name=\"one\"/>\n\
             <testcase classname=\"calls\" name=\"two &amp; three\">\n\
             <failure type=\"OUTCOME\" message=\"a &lt; b\">a &lt; b\nand &quot;c&quot;</failure>\n\
             </testcase>\n</testsuite>\n</testsuites>\n"
        );
    }
}
