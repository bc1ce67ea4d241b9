// The same in Node and in a page: opens an EventSource, and tells each thing that it is told of.

/** Runs in a page too, so it uses nothing but what is global: `EventSource`, and `tell`, to which it gives texts. */
export function listen({ url, types }) {
  const source = new EventSource(url);
  for (const type of types) {
    source.addEventListener(type, ({ lastEventId, data }) => {
      tell(JSON.stringify({ event: type, id: lastEventId || null, data: JSON.parse(data) }));
    });
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) tell(JSON.stringify({ event: "closed", id: null, data: null }));
  });
}
