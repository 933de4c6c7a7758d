package cases

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/wire"
)

// firstCases returns small cases about what a new server learns first. They repeat claims that other cases test
// thoroughly, with names, sizes and splits that differ in every run: a server with answers for the known requests
// does not pass. `lab grade` begins with them.
func firstCases() []Case {
	return []Case{
		// Ends: a first server may end after its first answer.
		{Name: "first-request", IDs: []string{"api-healthz"}, Alone: true, Ends: true, Run: func(t *T) {
			c := t.Dial()
			c.Request("GET", "/healthz", oddField(t.Rand()))
			wantOK(c)
		}},
		{Name: "first-pieces", IDs: []string{"conn-no-early-success"}, Run: firstPieces},
		{Name: "first-two", IDs: []string{"conn-persistent"}, Run: func(t *T) {
			rng := t.Rand()
			c := t.Dial()
			for range 2 + rng.IntN(3) {
				c.Request("GET", "/healthz", oddField(rng))
				wantOK(c)
			}
		}},
		{Name: "first-clients", IDs: []string{"conn-many"}, Run: firstClients},
		{Name: "first-file", IDs: []string{"content-get"}, Run: func(t *T) {
			rng := t.Rand()
			for range 3 {
				name, text := putRandom(t, rng)
				c := t.Dial()
				c.Request("GET", "/"+name).WantBody(200, text)
				c.Close() // an iterative server serves nobody else before
			}
		}},
		{Name: "first-missing", IDs: []string{"name-missing"}, Run: func(t *T) {
			rng := t.Rand()
			c := t.Dial()
			c.Request("GET", "/"+word(rng)+".txt").Want(404)
			c.Request("GET", "/"+word(rng)+"/"+word(rng)).Want(404)
			name, text := putRandom(t, rng)
			c.Request("GET", "/"+name).WantBody(200, text)
		}},
		{Name: "first-head", IDs: []string{"resp-head"}, Run: func(t *T) {
			name, text := putRandom(t, t.Rand())
			c := t.Dial()
			resp := c.Request("HEAD", "/"+name).WantTo("HEAD", 200)
			if got := resp.Get("Content-Length"); got != fmt.Sprint(len(text)) {
				t.Errorf("Content-Length is %q, want %d, the size of the file%s", got, len(text), c.About(resp))
			}
			c.Request("GET", "/"+name).WantBody(200, text) // a body after HEAD would be read as this response
		}},
		{Name: "first-body", IDs: []string{"body-length", "api-echo"}, Run: firstBodies},
	}
}

// wantOK reads the response of /healthz. A line end after the "ok" does not matter here.
func wantOK(c *Client) {
	c.T.Helper()
	if resp := c.Want(200); strings.TrimSpace(string(resp.Body)) != "ok" {
		c.T.Fatalf("the body is %s, want \"ok\"%s", wire.Quote(string(resp.Body)), c.About(nil))
	}
}

// firstPieces sends a request in pieces, each time to a fresh connection. No answer may come before the last piece.
func firstPieces(t *T) {
	rng := t.Rand()
	for range 4 {
		raw := wire.Request("GET", "/healthz", "", oddField(rng))
		at := []int{1 + rng.IntN(len(raw)-1), 1 + rng.IntN(len(raw)-1)}
		slices.Sort(at)
		c := t.Dial()
		c.Send(raw[:at[0]])
		c.AwaitRead()
		c.WantSilence(20 * time.Millisecond)
		c.SendPieces(raw[at[0]:], at[1]-at[0])
		wantOK(c)
		c.Close()
	}
}

// firstClients serves some clients one after the other. If 4,000 of them shall take less than a minute, an answer may
// take 15 ms; this case forgives the slow start of an interpreter.
func firstClients(t *T) {
	const clients, slow = 20, 500 * time.Millisecond
	rng := t.Rand()
	start := time.Now()
	for i := 1; i <= clients; i++ {
		c := t.Dial()
		c.Request("GET", "/healthz", oddField(rng))
		wantOK(c)
		c.Close()
		if took := time.Since(start); i >= 4 && took > time.Duration(i)*slow {
			t.Fatalf("each client waits %v for its answer, want a few milliseconds%s", (took / time.Duration(i)).Round(10*time.Millisecond), c.About(nil))
		}
	}
}

// firstBodies sends bodies of random bytes, one after the other on one connection. The second piece of a request
// begins somewhere in the body.
func firstBodies(t *T) {
	rng := t.Rand()
	c := t.Dial()
	for _, size := range []int{1 + rng.IntN(20), 0, 100 + rng.IntN(900), 10_000 + rng.IntN(50_000)} {
		body := randomBytes(rng, size)
		raw := wire.Request("POST", "/echo", body)
		c.SendPieces(raw, len(raw)-rng.IntN(size+1))
		if resp := c.Want(200); string(resp.Body) != body {
			t.Fatalf("the body is %s, want the %d bytes that were sent, %s%s",
				wire.Quote(string(resp.Body)), size, wire.Quote(body), c.About(nil))
		}
	}
}

// putRandom makes a file with a random name and content. The case removes it at its end.
func putRandom(t *T, rng *rand.Rand) (name, text string) {
	t.Helper()
	var b strings.Builder
	name = word(rng) + ".txt"
	for b.Len() < 20+rng.IntN(3000) {
		b.WriteString(word(rng) + "\n")
	}
	return putFile(t, name, b.String()), b.String()
}

// word returns letters at random.
func word(rng *rand.Rand) string {
	b := make([]byte, 4+rng.IntN(8))
	for i := range b {
		b[i] = byte('a' + rng.IntN(26))
	}
	return string(b)
}

// oddField returns a header field that has no meaning.
func oddField(rng *rand.Rand) string { return "X-" + word(rng) + ": " + word(rng) }

func randomBytes(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return string(b)
}

// randomCases returns cases whose names, sizes, splits and order differ in every run, one for each subject of which a server
// could otherwise know the answers: the other cases send the same requests each time.
func randomCases() []Case {
	return []Case{
		{Name: "conn-random", IDs: []string{"conn-pipeline", "resp-exact"}, Run: randomPipeline},
		{Name: "body-random", IDs: []string{"body-length", "body-chunked", "api-echo"}, Run: randomBodies},
		{Name: "type-random", IDs: []string{"type-text", "type-binary", "type-unknown"}, Run: randomTypes},
		{Name: "content-random", IDs: []string{"content-get", "content-head"}, Run: func(t *T) {
			rng := t.Rand()
			c := t.Dial()
			for range 6 {
				data := randomBytes(rng, rng.IntN(1<<rng.IntN(18)))
				name := putFile(t, path.Join(word(rng), word(rng), word(rng)+".bin"), data)
				c.Request("GET", "/"+name).WantBody(200, data)
				if got := c.Request("HEAD", "/"+name).WantTo("HEAD", 200).Get("Content-Length"); got != fmt.Sprint(len(data)) {
					t.Errorf("HEAD of a file of %d bytes has Content-Length %q", len(data), got)
				}
			}
			c.WantKept()
		}},
		{Name: "range-random", IDs: []string{"range-one", "range-open", "range-suffix", "range-416"}, Run: randomRanges},
		{Name: "range-several-random", IDs: []string{"range-several"}, Run: func(t *T) {
			rng := t.Rand()
			target, data := randomFile(t, rng)
			at := cuts(rng, len(data), 4)
			parts := []string{fmt.Sprintf("%d-%d", at[2], at[3]), fmt.Sprintf("%d-%d", at[0], at[1])}
			severalOf(t, target, data, "application/octet-stream", "bytes="+strings.Join(parts, ","), parts...)
		}},
		{Name: "cond-random", IDs: []string{"cond-etag", "cond-if-none-match", "cond-if-match"}, Run: func(t *T) {
			rng := t.Rand()
			name, text := putRandom(t, rng)
			c := t.Dial()
			tag := c.Request("GET", "/"+name).WantBody(200, text).Get("ETag")
			other := `"` + word(rng) + `"`
			c.Request("GET", "/"+name, "If-None-Match: "+other+", "+tag).Want(304)
			c.Request("GET", "/"+name, "If-None-Match: "+other).WantBody(200, text)
			c.Request("GET", "/"+name, "If-Match: "+other).Want(412)
			c.Request("GET", "/"+name, "If-Match: "+tag).WantBody(200, text)
			c.WantKept()
		}},
		{Name: "private-random", IDs: []string{"private-missing", "private-token"}, Env: account, Run: func(t *T) {
			rng := t.Rand()
			text := word(rng)
			there := putFile(t, "private/"+word(rng)+".txt", text)
			missing := "private/" + word(rng) + "/" + word(rng)
			c := t.Dial()
			c.Request("GET", "/"+there).Want(403)
			c.Request("GET", "/"+missing).Want(403)
			c.Close() // an iterative server serves nobody else before
			cookie := "Cookie: " + loggedIn(t, t.Server)
			c = t.Dial()
			c.Request("GET", "/"+there, cookie).WantBody(200, text)
			c.Request("GET", "/"+missing, cookie).Want(404)
		}},
	}
}

// putFile makes a file. The case removes it at its end.
func putFile(t *T, name, data string) string {
	t.Helper()
	t.Must(t.Root.Put(name, []byte(data)))
	t.OnEnd(func() {
		_ = os.Remove(t.Root.Path(name))
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) { // fails if the folder has other files
			_ = os.Remove(t.Root.Path(dir))
		}
	})
	return name
}

// randomPipeline sends requests in random order, cut at random places, and reads the responses.
func randomPipeline(t *T) {
	rng := t.Rand()
	name, text := putRandom(t, rng)
	type step struct {
		method, raw string
		want        int
		body        string
	}
	var steps []step
	for range 12 {
		body, missing := randomBytes(rng, rng.IntN(2000)), word(rng)
		steps = append(steps,
			step{"GET", wire.Request("GET", "/"+name, "", oddField(rng)), 200, text},
			step{"HEAD", wire.Request("HEAD", "/"+name, ""), 200, ""},
			step{"POST", wire.Request("POST", "/echo", body), 200, body},
			step{"HEAD", wire.Request("HEAD", "/"+missing, "", oddField(rng)), 404, ""},
		)
	}
	rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	var all strings.Builder
	for _, s := range steps {
		all.WriteString(s.raw)
	}
	c := t.Dial()
	sent := c.SendRandomly(all.String(), 1+rng.IntN(2000), rng.Uint64())
	for i, s := range steps {
		resp := c.WantTo(s.method, s.want)
		if string(resp.Body) != s.body {
			t.Fatalf("response %d of %d is %s, want %s%s", i+1, len(steps), wire.Quote(string(resp.Body)), wire.Quote(s.body), c.About(nil))
		}
	}
	<-sent
	c.WantKept()
}

// randomBodies sends bodies with a length or in chunks, cut at random places.
func randomBodies(t *T) {
	rng := t.Rand()
	var all strings.Builder
	var bodies []string
	for range 20 {
		body := randomBytes(rng, rng.IntN(1<<rng.IntN(15)))
		bodies = append(bodies, body)
		if rng.IntN(2) == 0 {
			all.WriteString(sized(fmt.Sprint(len(body)), body))
			continue
		}
		var chunks strings.Builder
		for rest := body; rest != ""; {
			n := min(len(rest), 1+rng.IntN(1000))
			chunks.WriteString(chunk(fmt.Sprintf([]string{"%x", "%X", "0%x"}[rng.IntN(3)], n), rest[:n]))
			rest = rest[n:]
		}
		all.WriteString(chunked(chunks.String() + last))
	}
	c := t.Dial()
	sent := c.SendRandomly(all.String(), 1+rng.IntN(5000), rng.Uint64())
	for i, body := range bodies {
		if got := string(c.Want(200).Body); got != body {
			t.Fatalf("body %d of %d is %s, want %s%s", i+1, len(bodies), wire.Quote(got), wire.Quote(body), c.About(nil))
		}
	}
	<-sent
	c.WantKept()
}

// randomTypes asks for files with random names and known suffixes.
func randomTypes(t *T) {
	rng := t.Rand()
	c := t.Dial()
	for _, f := range []struct{ suffix, want string }{
		{".html", "text/html; charset=utf-8"},
		{".css", "text/css; charset=utf-8"},
		{".png", "image/png"},
		{".pdf", "application/pdf"},
		{".x" + word(rng), "application/octet-stream"}, // of the known suffixes, only xml begins with x, and a word is longer
	} {
		name := putFile(t, word(rng)+f.suffix, word(rng))
		if got := c.Request("GET", "/"+name).Want(200).Get("Content-Type"); got != f.want {
			t.Errorf("the Content-Type of %s is %q, want %q", name, got, f.want)
		}
	}
}

// randomRanges asks for parts of a file of random bytes.
func randomRanges(t *T) {
	rng := t.Rand()
	target, data := randomFile(t, rng)
	size := len(data)
	c := t.Dial()
	one := func(spec string, first, last int) {
		resp := c.Request("GET", target, "Range: bytes="+spec).Want(206)
		if want := fmt.Sprintf("bytes %d-%d/%d", first, last, size); resp.Get("Content-Range") != want || string(resp.Body) != data[first:last+1] {
			t.Errorf("bytes=%s of %d is %d bytes with Content-Range %q, want %d with %q", spec, size, len(resp.Body), resp.Get("Content-Range"), last+1-first, want)
		}
	}
	for range 5 {
		at := cuts(rng, size, 2)
		one(fmt.Sprintf("%d-%d", at[0], at[1]), at[0], at[1])
		one(fmt.Sprintf("%d-", at[0]), at[0], size-1)
		one(fmt.Sprintf("-%d", at[1]), size-at[1], size-1)
	}
	c.Request("GET", target, fmt.Sprintf("Range: bytes=%d-", size+rng.IntN(1000))).Want(416)
	c.WantKept()
}

// randomFile makes a file of random bytes, and returns its target.
func randomFile(t *T, rng *rand.Rand) (target, data string) {
	t.Helper()
	data = randomBytes(rng, 100+rng.IntN(100_000))
	return "/" + putFile(t, word(rng)+".bin", data), data
}

// cuts returns n different positions in a text of some size, in order, without 0.
func cuts(rng *rand.Rand, size, n int) []int {
	var at []int
	for len(at) < n {
		if p := 1 + rng.IntN(size-1); !slices.Contains(at, p) {
			at = append(at, p)
		}
	}
	slices.Sort(at)
	return at
}
