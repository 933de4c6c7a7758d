package cases

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"

	"fourways.example/common/servertest/wire"
)

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
