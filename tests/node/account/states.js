// `node states.js JSON`: looks at the account page in each state, wide and light as well as narrow and dark. Prints what is wrong
// with each.
import { KINDS, close, judge, shows, tell, visitor } from "./visitor.js";

const { base, secret, pictures, states } = JSON.parse(process.argv[2]);

for (const kind of KINDS) {
  for (const { name, user, says, texts } of states) {
    const page = await visitor({ base, secret, user, ...kind });
    if (name === "loading") await page.route("**/api/**", () => {});
    await page.goto("/account");
    if (user && says) await shows(page, says);
    else await page.getByText(says ?? "Loading…").waitFor();
    for (const text of texts ?? []) await page.getByText(text, { exact: true }).waitFor();
    tell({ name, ...kind, faults: await judge(page, `${name}-${kind.scheme}-${kind.width}`, pictures) });
    await page.context().close();
  }
}
await close();
tell({ name: null });
