// Greets its caller, in JSON.

addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

// Called for each request. The body of a POST is {"name": "Ada"}.
async function handle(request) {
  switch (request.method) {
    case "GET":
      return Response.json({ greeting: "hello, world" });
    case "POST":
      try {
        const { name } = await request.json();
        return Response.json({ greeting: `hello, ${name}` });
      } catch (error) {
        return Response.json({ error: String(error) }, { status: 400 });
      }
    default:
      return Response.json({ error: "ask by GET or POST" }, { status: 405 });
  }
}
