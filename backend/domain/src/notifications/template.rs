//! What there is to tell: each kind by a template of its own, in a category, by channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Template {
    ContributionDue,
    TrialEnding,
    PaymentPending,
    PaymentReceived,
    PaymentFailed,
    PaymentFailing,
    PaymentActionRequired,
    GraceEnding,
    GraceEnded,
    PaymentRecovered,
    PodJoined,
    PodLeft,
    PodDateChanged,
    PodCompleted,
    PodCanceled,
    PodPayout,
    SupportReply,
}

/// What a user switches on and off at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Category {
    Payments,
    Reminders,
    Pods,
    Support,
}

/// How somebody is told, beside what is seen in the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
    /// To browsers and apps.
    Push,
}

/// How much it matters that somebody sees it soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is to be done.
    Warning,
    /// Something is to be done at once.
    Urgent,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 4] = [Self::Payments, Self::Reminders, Self::Pods, Self::Support];

    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Reminders => "reminders",
            Self::Pods => "pods",
            Self::Support => "support",
        }
    }

    /// The category of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }

    /// By which channels it goes where its user has said nothing else.
    pub fn by_default(self) -> &'static [Channel] {
        match self {
            Self::Payments => &[Channel::Email, Channel::Push],
            Self::Reminders | Self::Pods | Self::Support => &[Channel::Email],
        }
    }

    /// Whether its mails have a link that ends them.
    pub fn can_be_unsubscribed_by_link(self) -> bool {
        matches!(self, Self::Reminders | Self::Pods)
    }
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 2] = [Self::Email, Self::Push];

    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
        }
    }

    /// The channel of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 17] = [
        Self::ContributionDue,
        Self::TrialEnding,
        Self::PaymentPending,
        Self::PaymentReceived,
        Self::PaymentFailed,
        Self::PaymentFailing,
        Self::PaymentActionRequired,
        Self::GraceEnding,
        Self::GraceEnded,
        Self::PaymentRecovered,
        Self::PodJoined,
        Self::PodLeft,
        Self::PodDateChanged,
        Self::PodCompleted,
        Self::PodCanceled,
        Self::PodPayout,
        Self::SupportReply,
    ];

    /// Its name on the wire, in rows and of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContributionDue => "contribution_due",
            Self::TrialEnding => "trial_ending",
            Self::PaymentPending => "payment_pending",
            Self::PaymentReceived => "payment_received",
            Self::PaymentFailed => "payment_failed",
            Self::PaymentFailing => "payment_failing",
            Self::PaymentActionRequired => "payment_action_required",
            Self::GraceEnding => "grace_ending",
            Self::GraceEnded => "grace_ended",
            Self::PaymentRecovered => "payment_recovered",
            Self::PodJoined => "pod_joined",
            Self::PodLeft => "pod_left",
            Self::PodDateChanged => "pod_date_changed",
            Self::PodCompleted => "pod_completed",
            Self::PodCanceled => "pod_canceled",
            Self::PodPayout => "pod_payout",
            Self::SupportReply => "support_reply",
        }
    }

    /// The template of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// What a user switches it off with.
    pub fn category(self) -> Category {
        match self {
            Self::ContributionDue | Self::TrialEnding => Category::Reminders,
            Self::PaymentPending
            | Self::PaymentReceived
            | Self::PaymentFailed
            | Self::PaymentFailing
            | Self::PaymentActionRequired
            | Self::GraceEnding
            | Self::GraceEnded
            | Self::PaymentRecovered => Category::Payments,
            Self::PodJoined
            | Self::PodLeft
            | Self::PodDateChanged
            | Self::PodCompleted
            | Self::PodCanceled
            | Self::PodPayout => Category::Pods,
            Self::SupportReply => Category::Support,
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::GraceEnding | Self::GraceEnded => Severity::Urgent,
            Self::PaymentFailed | Self::PaymentFailing | Self::PaymentActionRequired => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// By which channels it goes where its user has said nothing else; in the application it is always seen.
    pub fn by_default(self) -> &'static [Channel] {
        match self {
            Self::PaymentPending | Self::PaymentReceived | Self::PaymentFailed => &[],
            Self::PaymentRecovered => &[Channel::Email],
            _ => self.category().by_default(),
        }
    }

    /// Whether it may go by `channel`: by default, or where a user has added the channel to the category. What is not
    /// worth a mail in a category that has mails never is one.
    pub fn may_go_by(self, channel: Channel) -> bool {
        self.by_default().contains(&channel) || !self.category().by_default().contains(&channel)
    }

    /// Whether it is of no use once what it tells of has been.
    pub fn is_reminder(self) -> bool {
        self.category() == Category::Reminders
    }
}
