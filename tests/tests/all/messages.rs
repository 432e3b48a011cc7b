//! `fetch` in JavaScript, as far as it needs no network: headers, requests, responses, streams, and being refused.
//!
//! What goes over a network is in `environments`.

use crate::javascript::{print, raise};

#[tokio::test]
async fn headers_are_as_the_fetch_standard_has_them() {
    print(&[
        ("const h = new Headers([['B', ' 1\\t'], ['a', '2'], ['b', '3']]); h.append('Set-Cookie', 'x'); h.append('set-cookie', 'y'); console.log(String([...h]), h.get('B'), h.getSetCookie(), h.has('C'))", "a,2,b,1, 3,set-cookie,x,set-cookie,y 1, 3 [ 'x', 'y' ] false"),
        ("const h = new Headers({ a: '1' }); h.set('A', '2'); h.append('a', '3'); const c = new Headers(h); c.delete('a'); console.log(h.get('a'), c.get('a'), h)", "2, 3 null Headers { a: '2, 3' }"),
        ("console.log([['a b', '1'], ['', '1'], ['a', '1\\n2'], ['a', '€'], ['a', 'ü']].map(([name, value]) => { try { return new Headers({ [name]: value }).get(name) } catch (e) { return e.name } }).join())", "TypeError,TypeError,TypeError,TypeError,ü"),
    ])
    .await;
}

#[tokio::test]
async fn requests_are_as_the_fetch_standard_has_them() {
    print(&[
        ("const r = new Request('http://a.b/c#d', { method: 'post', headers: { Host: 'x', TE: 'y', 'Proxy-Z': 'z', x: 'y' }, body: new URLSearchParams({ q: 'ü' }) }); console.log(r.method, r.url, String([...r.headers]), await r.text(), r.bodyUsed)", "POST http://a.b/c#d content-type,application/x-www-form-urlencoded;charset=UTF-8,x,y q=%C3%BC true"),
        ("const r = new Request('http://a.b', { method: 'PUT', body: 'x' }); const s = new Request(r); const t = s.clone(); console.log(r.bodyUsed, s.method, s.headers.get('content-type'), await s.text(), await t.text()); try { new Request(r) } catch (e) { console.log(e.message) }", "true PUT text/plain;charset=UTF-8 x x\nthe body was read already"),
        ("for (const [url, init] of [['/a'], ['http://u:p@a.b/'], ['http://a.b', { body: 'x' }], ['http://a.b', { method: 'TRACE' }], ['http://a.b', { redirect: 'no' }], ['http://a.b', { signal: {} }]]) try { new Request(url, init) } catch (e) { console.log(e.message) }",
         "'/a' is no URL; it must be absolute\na URL with a user or a password cannot be requested; send the header 'authorization'\na request with the method GET has no body\n\
          'TRACE' is no method for a request\n'no' is no way to treat redirects\n'signal' is no AbortSignal"),
    ])
    .await;
}

#[tokio::test]
async fn responses_are_as_the_fetch_standard_has_them() {
    print(&[
        ("const r = Response.json({ a: 1 }, { status: 201 }); const c = r.clone(); console.log(r.status, r.ok, r.headers.get('content-type'), await r.json(), (await c.bytes()).length, r.bodyUsed); try { r.clone() } catch (e) { console.log(e.message) }", "201 true application/json { a: 1 } 7 true\nthe body was read already"),
        ("const bytes = new Uint8Array([1, 2, 3]); const r = new Response(bytes); bytes[0] = 9; const c = r.clone(), [a, b] = [await r.bytes(), await c.bytes()]; a[1] = 9; console.log(a.join(), b.join(), (await new Response(new DataView(bytes.buffer, 1)).arrayBuffer()).byteLength)", "1,9,3 1,2,3 2"),
        ("for (const init of [{ status: 199 }, { status: 204 }, { statusText: 'a\\nb' }]) try { new Response('x', init) } catch (e) { console.log(`${e}`) }", "RangeError: a response's status is from 200 to 599, not 199\nTypeError: a response with the status 204 has no body\nTypeError: 'statusText' is of one line"),
        ("console.log(Response.error().type, Response.error().status, Response.redirect('http://a.b').headers.get('location'), new Response().body, new Response(null, { status: 204 }).status)", "error 0 http://a.b/ null 204"),
        ("const r = new Response('abc'); console.log(r.body instanceof ReadableStream, r.body === r.body, r.bodyUsed); let n = 0; for await (const piece of r.body) n += piece.length; console.log(n, r.bodyUsed, r.body.locked, `${await r.text().catch((e) => e)}`)", "true true false\n3 true false TypeError: the body was read already"),
        ("Object.assign(globalThis, { Headers: 1, Request: 2, URL: 3, ReadableStream: 4, AbortSignal: 5, URLSearchParams: 6 }); console.log(await new Response('still').text())", "still"),
    ])
    .await;
}

#[tokio::test]
async fn streams_are_as_the_streams_standard_has_them() {
    print(&[
        ("let pulls = 0; const s = new ReadableStream({ pull(c) { c.enqueue(++pulls); if (pulls === 3) c.close() } }); const got = []; for await (const piece of s) got.push(piece); console.log(got, pulls)", "[ 1, 2, 3 ] 3"),
        ("const s = new ReadableStream({ start(c) { c.enqueue('a'); c.enqueue('b') }, cancel(why) { console.log('cancelled', why) } }); const [a, b] = s.tee().map((it) => it.getReader()); console.log((await a.read()).value, (await b.read()).value, s.locked); await Promise.all([a.cancel('x'), b.cancel('y')])", "a a true\ncancelled [ 'x', 'y' ]"),
        ("const g = new ReadableStream({ pull() { throw new RangeError('broken') } }).getReader(); console.log(`${await g.read().catch((e) => e)}`, `${await g.closed.catch((e) => e)}`)", "RangeError: broken RangeError: broken"),
        ("const s = new ReadableStream({}), g = s.getReader(), read = g.read(); try { s.getReader() } catch (e) { console.log(e.message) } g.releaseLock(); console.log(`${await read.catch((e) => e)}`, s.locked)", "the stream is locked: it has a reader already\nTypeError: the reader was released false"),
        ("for await (const it of ReadableStream.from([1, Promise.resolve(2)])) console.log(it)", "1\n2"),
    ])
    .await;
}

#[tokio::test]
async fn a_script_by_itself_reaches_nothing_and_is_told_so() {
    print(&[
        ("try { await fetch('https://example.org/secret') } catch (e) { console.log(e.name, e.message, e.cause.code) }", "TypeError fetch failed: this code may not reach https://example.org: the environment's terms and the operator say where it may send HTTP-request-denied"),
        ("const all = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => fetch(`http://${n}.example`))); console.log(new Set(all.map((it) => it.status)).size)", "1"),
        ("const say = (it) => it.catch((e) => console.log(e.name)); await say(fetch('https://example.org', { signal: AbortSignal.abort() })); const c = new AbortController(), sent = fetch('https://example.org', { signal: c.signal }); c.abort(); await say(sent)", "AbortError\nAbortError"),
        ("for (const url of ['ftp://example.org', 'data:,x', 'example.org']) await fetch(url).catch((e) => console.log(e.message))", "fetch failed: only http: and https: can be fetched, not ftp:\nfetch failed: only http: and https: can be fetched, not data:\n'example.org' is no URL; it must be absolute"),
        // A signal's clock is nothing to stay for, unless it is all that one waits for.
        ("AbortSignal.timeout(1e6); await new Promise((done) => { AbortSignal.any([AbortSignal.timeout(3)]).onabort = done }); console.log('over')", "over"),
    ])
    .await;
    raise(&[(
        "const ask = () => fetch('https://example.org');\n\nask();",
        "Uncaught TypeError: fetch failed: this code may not reach https://example.org: the environment's terms and the operator say where it may send\n    at ask (<script>:1:18)\n    at <anonymous> (<script>:3:1)\n",
    )])
    .await;
}
