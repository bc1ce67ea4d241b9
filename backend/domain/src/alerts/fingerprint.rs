//! What an alert is known by.

use super::Labels;

/// Of all labels of an alert, its name and severity among them, as Prometheus and Alertmanager make it of the same ones: FNV-1a
/// in 64 bits over names and values in the order of names, each followed by the byte 255, which no text holds
/// (<https://github.com/prometheus/common/blob/main/model/signature.go>).
pub fn fingerprint(alert: &str, severity: &str, labels: &Labels) -> String {
    let mut all: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    all.extend([("alertname", alert), ("severity", severity)]);
    all.sort_unstable();
    let mut hash = FNV_OFFSET;
    for byte in all.iter().flat_map(|(name, value)| [name, value]).flat_map(|text| text.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    format!("{hash:016x}")
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
