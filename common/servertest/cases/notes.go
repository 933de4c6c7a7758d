package cases

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fourways.example/common/servertest/tier"
	"fourways.example/common/servertest/wire"
)

// A note is a note of /api/notes.
type note struct{ ID, User, Text, At string }

const (
	notesTarget = "/api/notes"
	mostNotes   = 100  // the length of the list
	mostText    = 1000 // the longest text, in code points
)

var (
	noteID   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	noteTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

// parseNote parses a note, which must be an object with exactly the four strings, well formed.
func parseNote(t *T, raw []byte) note {
	t.Helper()
	var object map[string]string
	err := json.Unmarshal(raw, &object)
	n := note{object["id"], object["user"], object["text"], object["at"]}
	switch {
	case err != nil || len(object) != 4 || !utf8.Valid(raw):
		t.Fatalf("%s is not an object with the strings id, user, text and at: %v", wire.Quote(string(raw)), err)
	case !noteID.MatchString(n.ID) || !noteTime.MatchString(n.At) || n.User != "user0":
		t.Errorf("a note has the id %q, the time %q and the user %q", n.ID, n.At, n.User)
	}
	return n
}

// parseNotes parses a list of notes.
func parseNotes(t *T, resp *Response) []note {
	t.Helper()
	var object map[string][]json.RawMessage
	if err := json.Unmarshal(resp.Body, &object); err != nil || len(object) != 1 || object["notes"] == nil {
		t.Fatalf("%s is not an object with the list notes: %v", wire.Quote(string(resp.Body)), err)
	}
	var all []note
	for _, raw := range object["notes"] {
		all = append(all, parseNote(t, raw))
	}
	return all
}

// noteBody returns the body of a request that adds a note.
func noteBody(text string) string {
	var b strings.Builder
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(map[string]string{"text": text})
	return b.String()
}

// addNote adds a note and returns the one in the response.
func addNote(t *T, c *Client, cookie, text string) note {
	t.Helper()
	resp := c.Post(notesTarget, noteBody(text), "Cookie: "+cookie).Want(201)
	if kind := resp.Get("Content-Type"); kind != "application/json" && !mayLack(t, resp, "Content-Type") {
		t.Errorf("the Content-Type of a note is %q, want application/json", kind)
	}
	n := parseNote(t, resp.Body)
	if n.Text != text {
		t.Errorf("the text of a note is %s, want %s", wire.Quote(n.Text), wire.Quote(text))
	}
	return n
}

// listNotes returns the list.
func listNotes(t *T, c *Client) []note {
	t.Helper()
	return parseNotes(t, askOne(c, ask{target: notesTarget, want: 200, has: asJSON}))
}

// wantNotes checks that the list is exactly these notes, given the oldest first.
func wantNotes(t *T, c *Client, oldestFirst []note) {
	t.Helper()
	want := slices.Clone(oldestFirst[max(0, len(oldestFirst)-mostNotes):])
	slices.Reverse(want)
	if got := listNotes(t, c); !slices.Equal(got, want) {
		t.Fatalf("the list is %s, want %s", wire.Quote(fmt.Sprint(got)), wire.Quote(fmt.Sprint(want)))
	}
}

func noteCases() []Case {
	return []Case{
		{Name: "notes", IDs: []string{"notes-get", "notes-post", "notes-note", "cli-notes"}, Env: account, Alone: true, Run: func(t *T) {
			if !strings.Contains(t.Server.Start, "notes are kept in memory") {
				t.Errorf("the start line does not say where the notes are kept: %s", t.Server.Start)
			}
			manyNotes(t, t.Server)
		}},
		{Name: "notes-token", IDs: []string{"notes-token", "keep-403", "expect-certain"}, Env: account, Alone: true, Run: func(t *T) {
			forbidden := func(body string, fields ...string) ask {
				return ask{name: wire.Quote(body) + strings.Join(fields, " "), method: "POST", target: notesTarget, send: body, fields: fields, want: 403}
			}
			askAll(t,
				forbidden(noteBody("x")),
				forbidden(noteBody("x"), "Cookie: auth_jwt=nonsense"),
				forbidden(noteBody("x"), "Cookie: "+loggedIn(t, t.Server)+"x"),
				forbidden(""), forbidden("not JSON"), forbidden(strings.Repeat("x", 9000)),
			)
			wantCertain(t, "POST", notesTarget, "Content-Length: 5", 403)
			wantNotes(t, t.Dial(), nil)
		}},
		{Name: "notes-token-no-account", IDs: []string{"notes-token", "env-no-account"}, Run: func(t *T) {
			askAll(t, ask{method: "POST", target: notesTarget, send: noteBody("x"), want: 403}, ask{target: notesTarget, want: 200, body: `{"notes":[]}`})
		}},
		{Name: "notes-text", IDs: []string{"notes-text", "notes-post"}, Env: account, Alone: true, Run: noteTexts},
		{Name: "notes-bad", IDs: []string{"notes-bad", "notes-text"}, Env: account, Alone: true, Run: badNotes},
		{Name: "notes-413", IDs: []string{"notes-413", "refuse-413", "expect-certain"}, Env: account, Alone: true, Run: func(t *T) {
			cookie := "Cookie: " + loggedIn(t, t.Server)
			padded := func(n int) string { return noteBody("x") + strings.Repeat(" ", n-len(noteBody("x"))) }
			inChunks := func(body string) string {
				return "POST /api/notes HTTP/1.1\r\nHost: h\r\n" + cookie + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(fmt.Sprintf("%x", len(body)), body) + last
			}
			const limit = 8 << 10
			exchange(t,
				row{name: "8 KiB", send: wire.Request("POST", notesTarget, padded(limit), cookie), want: 201, kept: true},
				row{name: "8 KiB, chunked", send: inChunks(padded(limit)), want: 201, kept: true},
				row{name: "8 KiB and a byte", send: wire.Request("POST", notesTarget, padded(limit+1), cookie), want: 413},
				row{name: "8 KiB and a byte, chunked", send: inChunks(padded(limit + 1)), want: 413},
				row{name: "8 KiB and a byte that are not JSON", send: wire.Request("POST", notesTarget, strings.Repeat("x", limit+1), cookie), want: 413},
				row{name: "1 MiB", send: wire.Request("POST", notesTarget, padded(mib), cookie), want: 413},
			)
		}},
		{Name: "notes-methods", IDs: []string{"notes-methods", "method-options", "api-head"}, Env: account, Alone: true, Run: func(t *T) {
			methods(t, notesTarget, "GET", "HEAD", "POST")
			cookie := loggedIn(t, t.Server)
			c := t.Dial()
			addNote(t, c, cookie, "x")
			get := c.Request("GET", notesTarget).Want(200)
			head := c.Request("HEAD", notesTarget).WantTo("HEAD", 200)
			c.WantKept()
			c.Close()
			if !slices.Equal(fieldLines(get), fieldLines(head)) {
				t.Errorf("GET has %q, HEAD has %q", fieldLines(get), fieldLines(head))
			}
			askAll(t, ask{target: "/api/notes/", want: 404}, ask{target: "/api/notes/x", want: 404}, ask{target: "/api/notesx", want: 404})
			askAll(t, ask{target: "/api/notes?x", want: 200})
		}},
		{Name: "notes-memory", IDs: []string{"notes-memory"}, NoServer: true, Run: func(t *T) {
			s := t.Begin(Config{Env: account})
			cookie := loggedIn(t, s)
			var all []note
			for i := range 12 { // in stage 4 the clients are in different loops
				c := t.DialTo(s, DialOptions{})
				all = append(all, addNote(t, c, cookie, fmt.Sprint("note ", i)))
				wantNotes(t, c, all)
				c.Close()
			}
			t.Must(s.Stop())
			c := t.DialTo(t.Begin(Config{Env: account}), DialOptions{})
			wantNotes(t, c, nil)
			c.Close()
		}},
		{Name: "notes-redis", IDs: []string{"notes-redis", "cli-notes"}, NoServer: true, Run: func(t *T) {
			f := newTier(t)
			sharedNotes(t, f.URL())
			if n := len(f.List()); n != 4 {
				t.Errorf("the list has %d values, want 4", n)
			}
		}},
		{Name: "notes-redis-real", IDs: []string{"notes-redis", "notes-get", "notes-post", "tier-exchange"}, NoServer: true, Run: func(t *T) {
			r := realTier(t)
			sharedNotes(t, r.URL())
			s := beginNotes(t, r.URL())
			noteTextsOf(t, s)
			t.Must(s.Stop())
			r.Kill()
			t.Must(r.Start()) // empty
			manyNotes(t, beginNotes(t, r.URL()))
		}},
		{Name: "cli-notes-bad", IDs: []string{"cli-notes-bad", "start-bad-flag"}, NoServer: true, Run: func(t *T) {
			for _, address := range []string{
				"", "redis://", "redis:", "127.0.0.1:6379", "localhost:6379", "redis://127.0.0.1", "redis://127.0.0.1:", "redis://127.0.0.1:0", "redis://127.0.0.1:65536",
				"redis://127.0.0.1:x", "redis://127.0.0.1:+1", "redis://127.0.0.1:-1", "redis://127.0.0.1: 6379", "redis://127.0.0.1:6379/", "redis://127.0.0.1:6379/0",
				"redis://127.0.0.1:6379?x=y", "redis://127.0.0.1:6379#x", "redis://:secret@127.0.0.1:6379", "redis://user:secret@127.0.0.1:6379", "redis://user@localhost:6379",
				"redis://example.com:6379", "redis://127.0.0.256:6379", "redis://127.1:6379", "redis://1:6379", "redis://::1:6379", "redis://[::1]", "redis://[::1:6379", "redis://[127.0.0.1]:6379",
				"redis://[localhost]:6379", "rediss://127.0.0.1:6379", "http://127.0.0.1:6379", "redis:/127.0.0.1:6379", "redis://LOCALHOST.:6379", " redis://127.0.0.1:6379",
			} {
				refusedFlag(t, []string{"--notes", address}, "notes", `redis://ADDRESS:PORT`)
			}
			for _, d := range []string{"2", "x", "-1s", "0", "0s"} {
				refusedFlag(t, []string{"--tier-timeout", d}, "tier-timeout", "")
			}
		}},
		{Name: "cli-notes", IDs: []string{"cli-notes-bad", "cli-notes", "cli-tier-timeout", "tier-down"}, NoServer: true, Run: func(t *T) {
			// The server starts even if the tier is not there.
			port := t.FreePort()
			for _, address := range []string{"127.0.0.1", "localhost", "[::1]"} {
				s := t.Begin(Config{Flags: []string{"--notes", fmt.Sprintf("redis://%s:%d", address, port)}})
				if strings.Contains(s.Start, "in memory") {
					t.Errorf("--notes: the start line is %s", s.Start)
				}
				c := t.DialTo(s, DialOptions{})
				unavailable(t, c.Request("GET", notesTarget), 503)
				c.WantKept()
				c.Close()
			}
			s := t.Begin(Config{Flags: []string{"--tier-timeout", "3s"}})
			wantNotes(t, t.DialTo(s, DialOptions{}), nil)
			_, help, _ := t.Exec("--help")
			if !regexp.MustCompile(`tier-timeout.*\n?.*\b2 ?s`).MatchString(help) || !strings.Contains(help, "--notes") {
				t.Errorf("the help does not name both flags and the default of 2 s")
			}
		}},
	}
}

// manyNotes adds more notes than the list has, and checks the list meanwhile.
func manyNotes(t *T, s *Server) {
	t.Helper()
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	wantNotes(t, c, nil)
	var all []note
	ids := map[string]bool{}
	for i := range mostNotes + 5 {
		before := time.Now().Truncate(time.Second)
		n := addNote(t, c, cookie, fmt.Sprint("note ", i))
		at, err := time.Parse(time.RFC3339, n.At)
		if err != nil || at.Before(before) || at.After(time.Now()) {
			t.Errorf("a note after %v has the time %s, %v", before.UTC(), n.At, err)
		}
		if all = append(all, n); ids[n.ID] {
			t.Errorf("two notes have the id %s", n.ID)
		}
		ids[n.ID] = true
		if i < 3 || i > mostNotes-3 {
			wantNotes(t, c, all)
		}
	}
	c.Close()
	c = t.DialTo(s, DialOptions{}) // the list does not belong to the connection, and needs no token
	wantNotes(t, c, all)
	c.Close()
}

// sharedNotes checks that two servers with one tier have the same notes, and that the notes outlast both.
func sharedNotes(t *T, url string) {
	t.Helper()
	a, b := beginNotes(t, url), beginNotes(t, url)
	cookie := loggedIn(t, a) // both servers have the same SECRET
	ca, cb := t.DialTo(a, DialOptions{}), t.DialTo(b, DialOptions{})
	var all []note
	for i := range 2 {
		all = append(all, addNote(t, ca, cookie, fmt.Sprint("a", i)))
		wantNotes(t, cb, all)
		all = append(all, addNote(t, cb, cookie, fmt.Sprint("b", i)))
		wantNotes(t, ca, all)
	}
	ca.Close()
	cb.Close()
	t.Must(a.Stop())
	t.Must(b.Stop())
	c := t.DialTo(beginNotes(t, url), DialOptions{})
	wantNotes(t, c, all)
	c.Close()
}

func noteTexts(t *T) { noteTextsOf(t, t.Server) }

// noteTextsOf adds notes with unusual texts, which must come back unchanged.
func noteTextsOf(t *T, s *Server) {
	t.Helper()
	cookie, c := loggedIn(t, s), t.DialTo(s, DialOptions{})
	all := slices.Clone(listNotes(t, c))
	slices.Reverse(all)
	for _, text := range []string{
		"x", " ", "\x00", "\t\r\n", "\x7f", "\"\\/'", "<script>alert(1)</script>&amp;", "\u2028\u2029", "grüße", "日本語", "\U0001f600", "\ufffd", "\ufeff", "\uffff", "e\u0301", "\u202e",
		"{\"text\":\"x\"}", "*1\r\n$1\r\nx\r\n", "$-1\r\n", "-ERR\r\n", strings.Repeat("x", mostText), strings.Repeat("ü", mostText), strings.Repeat("\U0001f600", mostText), strings.Repeat("\x01", mostText),
	} {
		all = append(all, addNote(t, c, cookie, text))
	}
	for _, body := range []struct{ raw, text string }{
		{`{"text":"\u0041\u00fc\ud83d\ude00\n\/"}`, "Aü\U0001f600\n/"},
		{" \r\n\t{ \"text\"\t: \"x\" } \n", "x"},
		{`{"\u0074ext":"x"}`, "x"},
		{`{"text":"` + strings.Repeat(`\u0001`, mostText) + `"}`, strings.Repeat("\x01", mostText)},
		{`{"text":"\ufffd"}`, "\ufffd"},
		{"{\"text\":\"\x7f\"}", "\x7f"},
	} {
		for _, kind := range []string{"Content-Type: application/json", "Content-Type: text/plain", "X: y"} {
			n := parseNote(t, c.Post(notesTarget, body.raw, "Cookie: "+cookie, kind).Want(201).Body)
			if all = append(all, n); n.Text != body.text {
				t.Errorf("%s is kept as %s", wire.Quote(body.raw), wire.Quote(n.Text))
			}
		}
	}
	wantNotes(t, c, all)
	c.Close()
}

// badNotes posts bodies that are no notes. Nothing must be kept of them.
func badNotes(t *T) {
	cookie := "Cookie: " + loggedIn(t, t.Server)
	var asks []ask
	for _, body := range []string{
		"", " ", "x", "null", "true", "5", `"text"`, "[]", "{}", "{", `["text"]`, `[{"text":"x"}]`, `{"text":}`, `{"text":null}`, `{"text":5}`, `{"text":true}`, `{"text":["x"]}`,
		`{"text":{"x":"y"}}`, `{"text":""}`, `{"Text":"x"}`, `{"TEXT":"x"}`, `{"note":"x"}`, `{"text":"x","x":"y"}`, `{"x":"y","text":"x"}`, `{"text":"x","text":5}`, `{"text":"x","Text":"y"}`,
		`{"text":"x"`, `{"text":"x}`, `{"text" "x"}`, `{"text":"x",}`, `{'text':'x'}`, `{text:"x"}`, noteBody("x") + "x", noteBody("x") + noteBody("x"), "\x00" + noteBody("x"), noteBody("x") + "\x00",
		"\ufeff" + noteBody("x"), "{\"text\":\"\n\"}", "{\"text\":\"\x00\"}", `{"text":"\x"}`, `{"text":"\u12"}`, "text=x",
		"{\"text\":\"\xff\"}", "{\"text\":\"\xc3\"}", "{\"text\":\"\xc0\x80\"}", "{\"text\":\"\xed\xa0\x80\"}", "{\"text\":\"\xf4\x90\x80\x80\"}", "{\"te\xffxt\":\"x\"}",
		`{"text":"\ud83d"}`, `{"text":"\ude00"}`, `{"text":"\ud83dx"}`, `{"text":"\ud83d\ud83d"}`, `{"text":"\ude00\ud83d"}`, `{"text":"\ud83d\u0041"}`, `{"text":"x\uDFFF"}`,
		noteBody(strings.Repeat("x", mostText+1)), noteBody(strings.Repeat("ü", mostText+1)), noteBody(strings.Repeat("\U0001f600", mostText+1)),
		`{"text":"` + strings.Repeat(`\u0041`, mostText+1) + `"}`, strings.Repeat("[", 8<<10), strings.Repeat(`{"text":`, 1000),
	} {
		asks = append(asks, ask{name: wire.Quote(body), method: "POST", target: notesTarget, send: body, fields: []string{cookie}, want: 400})
	}
	askAll(t, asks...)
	wantNotes(t, t.Dial(), nil)
}

// newTier starts a scripted tier for a case. Start it before the server: it is closed after the server.
func newTier(t *T) *tier.Fake {
	t.Helper()
	f, err := tier.NewFake()
	t.Must(err)
	t.OnEnd(f.Close)
	return f
}

// realTier starts a real Redis for a case, or skips the case.
func realTier(t *T) *tier.Redis {
	t.Helper()
	r, err := tier.StartRedis()
	if err == tier.ErrNoRedis {
		t.Missing(err.Error())
	}
	t.Must(err)
	t.OnEnd(r.Kill)
	return r
}

// beginNotes starts a server that keeps its notes in a tier.
func beginNotes(t *T, url string, flags ...string) *Server {
	t.Helper()
	return t.Begin(Config{Env: account, Flags: append([]string{"--notes", url}, flags...)})
}

// unavailable reads a response that says that the tier failed. A 503 has a Retry-After.
func unavailable(t *T, c *Client, status int) *Response {
	t.Helper()
	resp := c.Want(status)
	if retry := resp.Values("Retry-After"); status == 503 && !slices.Equal(retry, []string{"1"}) {
		t.Errorf("the Retry-After of a 503 is %q, want 1", retry)
	}
	if resp.Has("Connection", "close") {
		t.Errorf("a %d because of the tier has Connection: close", status)
	}
	return resp
}
