//! Pods and memberships as anybody outside sees them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Lock, Record as _, Tx};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::memberships::{Membership, MembershipStatus};
use crate::pods::{self, Pod, PodStatus, Sums};

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Pod")]
pub struct PodView {
    id: String,
    name: String,
    description: Option<String>,
    visibility: Visibility,
    /// What lets somebody into a private one: for its creator and operators.
    invite_code: Option<String>,
    status: PodStatus,
    joinable: bool,
    amount: i64,
    currency: String,
    cadence: String,
    contributions_total: Option<i64>,
    first_contribution_date: String,
    next_contribution_date: Option<String>,
    ends_at: Option<String>,
    grace_days: i64,
    max_members: i64,
    member_count: i64,
    total_contributed: i64,
    total_paid_out: i64,
    is_creator: bool,
    created_at: String,
    /// In order of joining: for members, the creator and operators.
    members: Option<Vec<MemberView>>,
    /// The caller's own.
    membership: Option<MembershipView>,
}

/// Who may find a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Anybody.
    Public,
    /// Who has its code.
    Private,
}

/// A member, as the others see them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Member")]
pub struct MemberView {
    membership_id: String,
    position: i64,
    is_you: bool,
    contribution_progress: i64,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Membership")]
pub struct MembershipView {
    id: String,
    pod_id: String,
    user_id: String,
    position: i64,
    status: MembershipStatus,
    stripe_customer_id: Option<String>,
    /// Null once it has ended.
    subscription_id: Option<String>,
    subscription_status: Option<String>,
    current_period_end: Option<String>,
    joined_at: String,
    leaves_at: Option<String>,
    ended_at: Option<String>,
    amount: i64,
    currency: String,
    next_contribution_date: Option<String>,
    contribution_progress: i64,
    contributions_total: Option<i64>,
    total_contributed: i64,
    pending_amount: i64,
    overdue_amount: i64,
    attempts: i64,
    next_attempt_at: Option<String>,
    grace_ends_at: Option<String>,
    failure_code: Option<String>,
    /// What it is a part of, in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Box<PodView>>,
}

/// Who looks at a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer<'a> {
    /// A user.
    User(&'a str),
    /// An operator, or a service of the company.
    Operator,
}

impl MembershipView {
    /// What is shown of `row` at `now`.
    pub fn of(row: &Membership, pod: &Pod, now: Timestamp) -> Self {
        let time = |at: Option<Timestamp>| at.map(rfc3339);
        let status = row.status(now);
        let is_over = !status.holds_a_seat();
        Self {
            id: row.id.clone(),
            pod_id: row.pod_id.clone(),
            user_id: row.user_id.clone(),
            position: row.position,
            status,
            stripe_customer_id: row.customer_id.clone(),
            subscription_id: row.subscription_id.clone().filter(|_| !is_over),
            subscription_status: row.subscription_status.clone(),
            current_period_end: time(row.current_period_end),
            joined_at: rfc3339(row.joined_at),
            leaves_at: time(row.leaves_at.filter(|_| !is_over)),
            ended_at: time(row.ended_at.or(row.over_at).filter(|_| is_over)),
            amount: pod.amount,
            currency: pod.currency.clone(),
            next_contribution_date: time(row.next_date(pod, now)),
            contribution_progress: row.contribution_progress,
            contributions_total: row.contributions_total,
            total_contributed: row.total_contributed,
            pending_amount: row.pending_amount,
            overdue_amount: row.overdue_amount,
            attempts: row.attempts,
            next_attempt_at: time(row.next_attempt_at),
            grace_ends_at: time(row.grace_ends_at),
            failure_code: row.failure_code.clone(),
            pod: None,
        }
    }
}

/// A membership that goes on, as the company's own services see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ActiveMembership")]
pub struct ActiveView {
    pod_id: String,
    membership_id: String,
    user_id: String,
    stripe_customer_id: Option<String>,
    subscription_id: Option<String>,
    status: MembershipStatus,
    amount: i64,
    currency: String,
    next_date: Option<String>,
    grace_ends_at: Option<String>,
}

impl From<MembershipView> for ActiveView {
    fn from(view: MembershipView) -> Self {
        Self {
            pod_id: view.pod_id,
            membership_id: view.id,
            user_id: view.user_id,
            stripe_customer_id: view.stripe_customer_id,
            subscription_id: view.subscription_id,
            status: view.status,
            amount: view.amount,
            currency: view.currency,
            next_date: view.next_contribution_date,
            grace_ends_at: view.grace_ends_at,
        }
    }
}

impl PodView {
    /// What `viewer` sees of `pod`, whose memberships are `members`.
    pub fn of(pod: &Pod, sums: Sums, members: &[Membership], viewer: Viewer<'_>, now: Timestamp) -> Self {
        let user = match viewer {
            Viewer::User(user) => Some(user),
            Viewer::Operator => None,
        };
        let is_own = |row: &&Membership| Some(&*row.user_id) == user && row.status(now) != MembershipStatus::Gone;
        let own = members.iter().filter(is_own).max_by_key(|row| (row.status(now).holds_a_seat(), row.position));
        let is_creator = user.is_some_and(|user| pod.is_of(user));
        let runs_it = is_creator || viewer == Viewer::Operator;
        let sits = own.is_some_and(|row| row.status(now).holds_a_seat());
        let view = |row: &Membership| MemberView {
            membership_id: row.id.clone(),
            position: row.position,
            is_you: Some(&*row.user_id) == user,
            contribution_progress: row.contribution_progress,
        };
        let mut shown: Vec<_> = members.iter().filter(|row| row.status(now).holds_a_seat()).collect();
        shown.sort_by_key(|row| row.position);
        Self {
            id: pod.id.clone(),
            name: pod.name.clone(),
            description: pod.description.clone(),
            visibility: if pod.is_public { Visibility::Public } else { Visibility::Private },
            invite_code: (runs_it && !pod.is_public).then(|| pod.invite_code.clone()),
            status: pod.status(now, sums.unsettled > 0),
            joinable: pod.takes_members(now) && sums.members < pod.members_max,
            amount: pod.amount,
            currency: pod.currency.clone(),
            cadence: pod.cadence.clone(),
            contributions_total: pod.contributions_total,
            first_contribution_date: rfc3339(pod.first_date),
            next_contribution_date: pod.next_contribution_date(now).map(rfc3339),
            ends_at: pod.ends_at().map(rfc3339),
            grace_days: pod.grace_days,
            max_members: pod.members_max,
            member_count: sums.members,
            total_contributed: sums.contributed,
            total_paid_out: sums.paid_out,
            is_creator,
            created_at: rfc3339(pod.created_at),
            members: (runs_it || sits).then(|| shown.into_iter().map(view).collect()),
            membership: own.map(|row| MembershipView::of(row, pod, now)),
        }
    }
}

/// A pod with its memberships, as `viewer` sees it.
pub async fn pod(tx: &mut Tx, now: Timestamp, pod: &Pod, viewer: Viewer<'_>) -> Result<PodView, DbError> {
    let sums = pods::sums(tx, now, &pod.id).await?;
    let members: Vec<Membership> = tx.load("pod_id", &BTreeSet::from([pod.id.clone()]), Lock::None).await?;
    Ok(PodView::of(pod, sums, &members, viewer, now))
}

/// A pod with all of its memberships, those that have ended too.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "WholePod")]
pub struct WholePodView {
    #[serde(flatten)]
    pod: PodView,
    memberships: Vec<MembershipView>,
}

/// A pod with all of its memberships, for operators.
pub async fn whole(tx: &mut Tx, now: Timestamp, row: &Pod) -> Result<WholePodView, DbError> {
    let sums = pods::sums(tx, now, &row.id).await?;
    let mut members: Vec<Membership> = tx.load("pod_id", &BTreeSet::from([row.id.clone()]), Lock::None).await?;
    members.retain(|member| member.status(now) != MembershipStatus::Gone);
    members.sort_by_key(|member| member.position);
    let pod = PodView::of(row, sums, &members, Viewer::Operator, now);
    Ok(WholePodView { pod, memberships: members.iter().map(|member| MembershipView::of(member, row, now)).collect() })
}

/// A page of pods, as `viewer` sees them.
pub async fn list(tx: &mut Tx, now: Timestamp, pods: List<Pod>, viewer: Viewer<'_>) -> Result<List<PodView>, DbError> {
    let mut views = Vec::new();
    for row in &pods.data {
        views.push(pod(tx, now, row, viewer).await?);
    }
    let mut views = views.into_iter();
    Ok(pods.map(|_| views.next().expect("there is a view of each")))
}

/// A foreign key sees to it that there is none.
fn of_no_pod() -> DbError {
    DbError::Inconsistent { table: Membership::TABLE, column: "pod_id".to_owned() }
}

/// A page of a user's memberships with their pods, the newest first.
pub async fn mine(tx: &mut Tx, now: Timestamp, user_id: &str, page: &Page) -> Result<List<MembershipView>, DbError> {
    let start = page.start();
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM memberships
             WHERE user_id = $1 AND (joined_at, id) < ($2, $3)
               AND (subscription_id IS NOT NULL OR ended_here_at IS NOT NULL OR joining_until > $4)
             ORDER BY joined_at DESC, id DESC
             LIMIT $5",
        )
        .bind(user_id)
        .bind(start.at)
        .bind(start.id)
        .bind(now)
        .bind(page.rows_wanted())
        .all()
        .await?;
    let ids = ids.into_iter().map(|(id,)| id).collect();
    let rows: Vec<Membership> = tx.load("id", &ids, Lock::None).await?;
    let list = page.merge(rows, |row| Position { at: row.joined_at, id: row.id.clone() });
    let mut views = Vec::new();
    for row in &list.data {
        let pod = pods::get(tx, &row.pod_id).await?.ok_or_else(of_no_pod)?;
        let shown = self::pod(tx, now, &pod, Viewer::User(user_id)).await?;
        let shown = PodView { membership: None, ..shown };
        views.push(MembershipView { pod: Some(Box::new(shown)), ..MembershipView::of(row, &pod, now) });
    }
    let mut views = views.into_iter();
    Ok(list.map(|_| views.next().expect("there is a view of each")))
}
