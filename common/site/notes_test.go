package site

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fourways.example/common/resp"
)

// cookie logs in and returns the field line with the token.
func (f *fixture) cookie() string {
	f.t.Helper()
	r := f.do("POST", "/api/login", "", fmt.Sprintf(`{"username":%q,"password":%q}`, testUser, testPass))
	value, _, ok := strings.Cut(r.get("Set-Cookie"), ";")
	if !ok {
		f.t.Fatalf("login: %+v", r)
	}
	return "Cookie: " + value
}

// notes returns the notes of a list.
func (f *fixture) notes(r reply) []note {
	f.t.Helper()
	var list struct{ Notes []note }
	if err := json.Unmarshal([]byte(r.Body), &list); err != nil || r.Status != 200 || r.get("Content-Type") != "application/json" {
		f.t.Fatalf("%+v: %v", r, err)
	}
	return list.Notes
}

func TestNotesInMemory(t *testing.T) {
	f := serveSite(t, withAccount(Config{}), nil)
	if r := f.get("/api/notes"); r.Body != `{"notes":[]}` {
		t.Errorf("%+v", r)
	}
	cookie := f.cookie()
	ids := map[string]bool{}
	for i := range maxNotes + 5 {
		r := f.do("POST", "/api/notes", cookie, "", fmt.Sprintf(`{"text":"note %d"}`, i))
		var n note
		if err := json.Unmarshal([]byte(r.Body), &n); err != nil || r.Status != 201 || r.get("Content-Type") != "application/json" {
			t.Fatalf("%+v, %v", r, err)
		}
		want := note{n.ID, testUser, fmt.Sprintf("note %d", i), f.clock.now().UTC().Format(time.RFC3339)}
		if n != want || len(n.ID) != 16 || ids[n.ID] {
			t.Errorf("%+v, want %+v with a new id", n, want)
		}
		ids[n.ID] = true
		f.clock.advance(time.Second)
		if list := f.notes(f.get("/api/notes")); len(list) != min(i+1, maxNotes) || list[0] != n {
			t.Fatalf("%d notes, the first is %+v, want %+v", len(list), list[0], n)
		}
	}
	list := f.notes(f.get("/api/notes"))
	if last := list[maxNotes-1].Text; last != "note 5" {
		t.Errorf("the oldest note is %s", last)
	}
	head, get := f.do("HEAD", "/api/notes"), f.get("/api/notes")
	if diff := cmp.Diff(get.undated().Fields, head.undated().Fields); diff != "" {
		t.Errorf("GET and HEAD: %s", diff)
	}
	const allow = "GET, HEAD, POST, OPTIONS"
	if r := f.do("OPTIONS", "/api/notes"); r.Status != 204 || r.get("Allow") != allow {
		t.Errorf("%+v", r)
	}
	if r := f.do("DELETE", "/api/notes"); r.Status != 405 || r.get("Allow") != allow {
		t.Errorf("%+v", r)
	}
}

func TestBadNotes(t *testing.T) {
	f := serveSite(t, withAccount(Config{}), nil)
	cookie := f.cookie()
	text := func(s string) string { return `{"text":"` + s + `"}` }
	for _, tt := range []struct {
		body   string
		status int
	}{
		{text("a"), 201},
		{` { "\u0074ext" : "\ud83d\ude00 \\ud800 ü \u0000 <b>" } `, 201},
		{text(strings.Repeat("😀", maxNoteText)), 201},
		{text(strings.Repeat("x", maxNoteText+1)), 400},
		{text(""), 400},
		{text("\xff"), 400},
		{text(`\ud800`), 400},
		{text(`\udc00\ud800`), 400},
		{text(`\ud800\ud800`), 400},
		{text(`\ud800x`), 400},
		{text(`\\\udc00`), 400},
		{text("a\nb"), 400},
		{`{"text":"a","text":"b"}`, 400},
		{`{"text":"a","more":1}`, 400},
		{`{"more":1,"text":"a"}`, 400},
		{`{"Text":"a"}`, 400},
		{`{"text":null}`, 400},
		{`{"text":1}`, 400},
		{`{"text":["a"]}`, 400},
		{`{"text":"a"}x`, 400},
		{`{"text":"a"}{}`, 400},
		{`{"text":"a"`, 400},
		{`{}`, 400},
		{`["text","a"]`, 400},
		{`"a"`, 400},
		{``, 400},
		{text("a") + strings.Repeat(" ", maxNoteBody-len(text("a"))), 201},
		{text("a") + strings.Repeat(" ", maxNoteBody-len(text("a"))+1), 413},
	} {
		if r := f.do("POST", "/api/notes", cookie, "", tt.body); r.Status != tt.status {
			t.Errorf("%.100q: %+v, want %d", tt.body, r, tt.status)
		}
		if r := f.do("POST", "/api/notes", "", tt.body); r.Status != 403 {
			t.Errorf("%.100q without a token: %+v", tt.body, r)
		}
	}
}

// A fakeTier answers each question with the text that reply returns.
func fakeTier(t *testing.T, reply func(question string) string) netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					question, err := readCommand(r)
					if err != nil {
						return
					}
					if question[0] == "RPUSH" {
						trim, err := readCommand(r)
						if err != nil {
							return
						}
						question = append(question, trim...)
					}
					if _, err := c.Write([]byte(reply(strings.Join(question, " ")))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func readCommand(r *bufio.Reader) (args []string, err error) {
	var n, size int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	for range n {
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		for i := range b {
			if b[i], err = r.ReadByte(); err != nil {
				return nil, err
			}
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

// bulks returns a RESP array of bulk strings.
func bulks(texts ...string) string { return string(resp.AppendCommand(nil, texts...)) }

func TestNotesInATier(t *testing.T) {
	const a = `{"id":"0123456789abcdef","user":"u","text":"a","at":"2026-01-02T03:04:05Z"}`
	const b = `{"id":"fedcba9876543210","user":"u","text":"b","at":"2026-01-02T03:04:06Z"}`
	answer := make(chan string, 1)
	asked := make(chan string, 1)
	tier := fakeTier(t, func(question string) string { asked <- question; return <-answer })
	f := serveTier(t, tier)
	cookie := f.cookie()

	answer <- ":1\r\n+OK\r\n"
	r := f.do("POST", "/api/notes", cookie, "", `{"text":"hello"}`)
	if want := "RPUSH notes " + r.Body + " LTRIM notes -100 -1"; r.Status != 201 || <-asked != want {
		t.Errorf("%+v", r)
	}
	answer <- bulks(a, b)
	if r := f.get("/api/notes"); r.Body != `{"notes":[`+b+","+a+`]}` || <-asked != "LRANGE notes -100 -1" {
		t.Errorf("%+v", r)
	}
	for _, tt := range []struct {
		reply  string
		status int
	}{
		{"*0\r\n", 200},
		{"-LOADING Redis is loading\r\n", 503},
		{"-WRONGTYPE\r\n", 503},
		{"*-1\r\n", 502},
		{":1\r\n", 502},
		{"+OK\r\n", 502},
		{"hello\r\n", 502},
		{"*0\r\n*0\r\n", 502},
		{"*1\r\n:1\r\n", 502},
		{"*1\r\n$-1\r\n", 502},
		{bulks("x"), 502},
		{bulks(`{}`), 502},
		{bulks(strings.Replace(a, "a\"", "\xff\"", 1)), 502},
		{bulks(strings.Replace(a, "text", "Text", 1)), 502},
		{bulks(strings.Replace(a, "2026-01", "2026-13", 1)), 502},
		{bulks(strings.Replace(a, "0123", "012x", 1)), 502},
		{bulks(strings.Replace(a, `}`, `,"x":1}`, 1)), 502},
		{bulks(strings.Replace(a, `"u"`, `null`, 1)), 502},
		{bulks(strings.Split(strings.Repeat(a+"\n", maxNotes+1), "\n")[:maxNotes+1]...), 502},
		{bulks(strings.Split(strings.Repeat(a+"\n", maxNotes), "\n")[:maxNotes]...), 200},
	} {
		answer <- tt.reply
		r := f.get("/api/notes")
		<-asked
		retry := r.get("Retry-After")
		if r.Status != tt.status || (retry == "1") != (tt.status == 503) || r.get("Connection") != "" {
			t.Errorf("GET, %.100q: %+v, want %d", tt.reply, r, tt.status)
		}
	}
	for _, tt := range []struct {
		reply  string
		status int
	}{
		{":1\r\n-OOM\r\n", 503},
		{"+OK\r\n+OK\r\n", 502},
		{":1\r\n+NO\r\n", 502},
		{":1\r\n:1\r\n", 502},
	} {
		answer <- tt.reply
		r := f.do("POST", "/api/notes", cookie, "", `{"text":"hello"}`)
		<-asked
		if r.Status != tt.status || r.get("Connection") != "" {
			t.Errorf("POST, %q: %+v, want %d", tt.reply, r, tt.status)
		}
	}
	if r := f.do("POST", "/api/notes", "", `{"text":"hello"}`); r.Status != 403 {
		t.Errorf("%+v", r)
	}
}

// serveTier serves a site whose notes are in a tier.
func serveTier(t *testing.T, tier netip.AddrPort) *fixture {
	testTier = tier
	t.Cleanup(func() { testTier = netip.AddrPort{} })
	return serveSite(t, withAccount(Config{Tier: true}), nil)
}

// testTier is the tier of the fixtures that have one.
var testTier netip.AddrPort
