package cases

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
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
	name = word(rng) + ".txt"
	var b bytes.Buffer
	for b.Len() < 20+rng.IntN(3000) {
		b.WriteString(word(rng) + "\n")
	}
	t.Must(t.Root.Put(name, b.Bytes()))
	t.OnEnd(func() { _ = os.Remove(t.Root.Path(name)) })
	return name, b.String()
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
