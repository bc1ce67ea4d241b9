// `node client.js BASE TOKEN PLAN`: a round of calls by a client made of the OpenAPI document. What it reads and sends is
// checked by the compiler, against the types that openapi-typescript made. Prints what it was answered, a line each.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

const [baseUrl, token, planId] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token}` } });

function tell(said: unknown) {
  console.log(JSON.stringify(said));
}

function expected<T>(answer: { data?: T; error?: components["schemas"]["Error"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.error.code);
  return answer.data;
}

const plans = expected(await client.GET("/api/subscriptions/plans", { params: { query: { limit: 10 } } }));
tell({ plans: plans.data.map((plan) => plan.id) });

const current = expected(await client.GET("/api/subscriptions/current"));
const status: string | null | undefined = current.subscription?.status;
tell({ tier: current.tier, status });

const changed = expected(
  await client.POST("/api/subscriptions/change-plan", {
    params: { header: { "Idempotency-Key": "a change" } },
    body: { planId },
  }),
);
tell({ planId: changed.subscription.planId, pending: changed.pending });

const again = await client.POST("/api/subscriptions/change-plan", { body: { planId } });
tell({ refused: again.error?.error.code });

const made = expected(await client.POST("/api/api-keys", { body: { name: "a key" } }));
const ended = await client.DELETE("/api/api-keys/{id}", { params: { path: { id: made.id } } });
tell({ key: made.key.length > 0, ended: ended.response.status });
