//! Distinguished names, printed as Go's chaincode library prints them.
//!
//! Chaincode in Go makes a client's ID from the text of the subject and issuer, and stored owner
//! IDs must match whichever language asks. Go sorts the attributes by type, joins several of one
//! type with `+`, prints the last first, and drops types without a field of their own, whatever
//! the certificate's order was.

use std::fmt;

use x509_parser::x509::X509Name;

/// The attributes of a name that Fabric looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DistinguishedName {
    country: Vec<String>,
    organization: Vec<String>,
    pub(crate) organizational_unit: Vec<String>,
    locality: Vec<String>,
    province: Vec<String>,
    street: Vec<String>,
    postal_code: Vec<String>,
    pub(crate) common_name: Option<String>,
    serial_number: Option<String>,
}

impl DistinguishedName {
    pub(crate) fn read(name: &X509Name<'_>) -> Self {
        let mut read = Self::default();
        for attribute in name.iter_attributes() {
            let Ok(value) = attribute.as_str() else {
                continue;
            };
            let value = value.to_owned();
            match attribute.attr_type().to_id_string().as_str() {
                "2.5.4.3" => read.common_name = Some(value),
                "2.5.4.5" => read.serial_number = Some(value),
                "2.5.4.6" => read.country.push(value),
                "2.5.4.7" => read.locality.push(value),
                "2.5.4.8" => read.province.push(value),
                "2.5.4.9" => read.street.push(value),
                "2.5.4.10" => read.organization.push(value),
                "2.5.4.11" => read.organizational_unit.push(value),
                "2.5.4.17" => read.postal_code.push(value),
                _ => {}
            }
        }
        read
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |value: &Option<String>| -> Vec<String> {
            value
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect()
        };
        let parts = [
            ("SERIALNUMBER", optional(&self.serial_number)),
            ("CN", optional(&self.common_name)),
            ("OU", self.organizational_unit.clone()),
            ("O", self.organization.clone()),
            ("POSTALCODE", self.postal_code.clone()),
            ("STREET", self.street.clone()),
            ("L", self.locality.clone()),
            ("ST", self.province.clone()),
            ("C", self.country.clone()),
        ];
        let mut separator = "";
        for (label, values) in parts {
            for value in values {
                write!(f, "{separator}{label}={}", escaped(&value))?;
                separator = "+";
            }
            if separator == "+" {
                separator = ",";
            }
        }
        Ok(())
    }
}

/// Escapes as RFC 2253 section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, character) in value.char_indices() {
        let leading = index == 0 && matches!(character, ' ' | '#');
        let trailing = index + 1 == value.len() && character == ' ';
        if leading || trailing || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_in_the_order_of_go() {
        let name = DistinguishedName {
            country: vec!["US".to_owned()],
            organization: vec!["Hospital, North".to_owned()],
            organizational_unit: vec!["client".to_owned(), "org1".to_owned()],
            locality: vec!["San Francisco".to_owned()],
            province: vec!["California".to_owned()],
            common_name: Some(" User1@org1.example.com ".to_owned()),
            ..DistinguishedName::default()
        };
        assert_eq!(
            name.to_string(),
            "CN=\\ User1@org1.example.com\\ ,OU=client+OU=org1,O=Hospital\\, North,\
             L=San Francisco,ST=California,C=US"
        );
        assert_eq!(DistinguishedName::default().to_string(), "");
    }
}
