package site

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"fourways.example/common/h1"
	"fourways.example/common/resp"
)

const (
	// maxNotes is how many notes are kept. The oldest ones are dropped.
	maxNotes = 100
	// maxNoteText limits the text of a note, in code points.
	maxNoteText = 1000
	// maxNoteBody limits the body of a request that adds a note, in bytes. Like a login, a larger one
	// would keep an event loop busy.
	maxNoteBody = 8 << 10
)

// A note is an entry of the guest book. It is kept as JSON.
type note struct {
	ID   string `json:"id"`   // 64 random bits as 16 hex digits
	User string `json:"user"` // the name of the account
	Text string `json:"text"` // 1 to maxNoteText code points
	At   string `json:"at"`   // RFC 3339, in UTC
}

// A book keeps notes in memory. Several threads may use it at the same time.
type book struct {
	mu    sync.Mutex
	notes [][]byte // as JSON, the oldest first
	list  []byte   // the answer to GET, never changed; nil if it must be made again
}

func (b *book) add(note []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes) == maxNotes {
		b.notes = slices.Delete(b.notes, 0, 1)
	}
	b.notes, b.list = append(b.notes, note), nil
}

// all returns the list of the notes as JSON. All responses share its memory.
func (b *book) all() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.list == nil {
		b.list = appendNotes(nil, len(b.notes), func(i int) []byte { return b.notes[i] })
	}
	return b.list
}

// appendNotes appends n notes, of which note returns the JSON, as a list with the newest first.
func appendNotes(b []byte, n int, note func(i int) []byte) []byte {
	b = append(b, `{"notes":[`...)
	for i := n - 1; i >= 0; i-- {
		b = append(b, note(i)...)
		if i > 0 {
			b = append(b, ',')
		}
	}
	return append(b, "]}"...)
}

// serveNotes serves /api/notes.
func (s *Site) serveNotes(w *h1.Response, r *h1.Request) {
	switch r.Method {
	case h1.GET, h1.HEAD:
		s.listNotes(w, r)
	case h1.POST:
		s.postNote(w, r)
	case h1.OPTIONS:
		options(w, allowLoginLine)
	default:
		notAllowed(w, allowLoginLine)
	}
}

func (s *Site) listNotes(w *h1.Response, r *h1.Request) {
	reply := r.Reply()
	switch {
	case s.book != nil:
		w.RawFields(jsonLines)
		w.Bytes(s.book.all())
	case reply == nil:
		w.Ask(h1.Question{Bytes: listQuestion, Replies: 1, Again: true})
	case !tierFailed(w, reply):
		answerList(w, reply)
	}
}

func (s *Site) postNote(w *h1.Response, r *h1.Request) {
	if reply := r.Reply(); reply != nil {
		answerPosted(w, reply)
		return
	}
	if s.refuseNote(w, r, int64(len(r.Body))) {
		return
	}
	text, ok := parseNote(r.Body)
	if !ok {
		w.Error(400, `want {"text": "..."} with 1 to 1,000 characters`)
		return
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails: without random numbers it ends the process
	made, _ := json.Marshal(note{hex.EncodeToString(id), s.account.name, text, s.now().UTC().Format(time.RFC3339)})
	if s.book == nil {
		w.Ask(h1.Question{Bytes: postQuestion(made), Replies: 2, Keep: made})
		return
	}
	s.book.add(made)
	created(w, made)
}

// refuseNote answers a request to add a note that fails whatever its body says. It reports whether it has
// answered. size is the length of the body in bytes, or -1 if it is not known yet.
func (s *Site) refuseNote(w *h1.Response, r *h1.Request, size int64) bool {
	switch {
	case !s.authorized(r):
		w.Error(403, "log in first")
	case size > maxNoteBody:
		w.Refuse(413, "the body with a note is longer than 8 KiB")
	default:
		return false
	}
	return true
}

// created answers with a note that was added.
func created(w *h1.Response, note []byte) {
	w.Status = 201
	w.RawFields(jsonLines)
	w.Bytes(note)
}

// The commands for Redis or Valkey. The list "notes" has the oldest note first.
var listQuestion = resp.AppendCommand(nil, "LRANGE", "notes", strconv.Itoa(-maxNotes), "-1")

func postQuestion(note []byte) []byte {
	b := resp.AppendCommand(nil, "RPUSH", "notes", string(note))
	return resp.AppendCommand(b, "LTRIM", "notes", strconv.Itoa(-maxNotes), "-1")
}

// tierFailed answers the request if the tier has not replied to the question.
func tierFailed(w *h1.Response, reply *h1.Reply) bool {
	switch reply.Outcome {
	case h1.Replied:
		return false
	case h1.ErrorReply:
		later(w, "the tier with the notes cannot answer now")
	case h1.Refused:
		later(w, "the tier with the notes cannot be reached")
	case h1.Busy:
		later(w, "too many requests wait for the tier with the notes")
	case h1.TimedOut:
		w.Error(504, "the tier with the notes does not answer")
	case h1.Lost:
		w.Error(502, "the tier with the notes has closed the connection")
	default:
		garbled(w, reply)
	}
	return true
}

// garbled answers if the reply of the tier makes no sense.
func garbled(w *h1.Response, reply *h1.Reply) {
	reply.Reject()
	w.Error(502, "the tier with the notes has sent nonsense")
}

// answerPosted answers when the tier has replied to postQuestion.
func answerPosted(w *h1.Response, reply *h1.Reply) {
	if tierFailed(w, reply) {
		return
	}
	pushed, trimmed := &reply.Values[0], &reply.Values[1]
	if pushed.Kind != resp.Integer || trimmed.Kind != resp.Simple || string(trimmed.Text) != "OK" {
		garbled(w, reply)
		return
	}
	created(w, reply.Keep.([]byte))
}

// answerList answers with the notes that the tier has sent.
func answerList(w *h1.Response, reply *h1.Reply) {
	list := &reply.Values[0]
	good := list.Kind == resp.Array && !list.Null && len(list.Elems) <= maxNotes
	for i := range list.Elems {
		good = good && validNote(&list.Elems[i])
	}
	if !good {
		garbled(w, reply)
		return
	}
	w.RawFields(jsonLines)
	w.Built(appendNotes(w.Build(), len(list.Elems), func(i int) []byte { return list.Elems[i].Text }))
}

// validNote reports whether v is a note as JSON. Another program may have written it.
func validNote(v *resp.Value) bool {
	var m map[string]*string
	if v.Kind != resp.Bulk || v.Null || !utf8.Valid(v.Text) || json.Unmarshal(v.Text, &m) != nil || len(m) != 4 {
		return false
	}
	id, user, text, at := m["id"], m["user"], m["text"], m["at"]
	if id == nil || user == nil || text == nil || at == nil || len(*id) != 16 || !validText(*text) {
		return false
	}
	_, notHex := hex.DecodeString(*id)
	_, notTime := time.Parse(time.RFC3339, *at)
	return notHex == nil && notTime == nil
}

func validText(text string) bool {
	n := utf8.RuneCountInString(text)
	return n >= 1 && n <= maxNoteText
}

// parseNote parses the body of a request that adds a note: a JSON object that has the one member
// "text", a string. The string must be valid UTF-8 and have no half of a surrogate pair, which
// encoding/json would replace by another character.
func parseNote(body []byte) (text string, ok bool) {
	if !utf8.Valid(body) {
		return "", false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	var raw json.RawMessage
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", false
	}
	if t, err := d.Token(); err != nil || t != "text" {
		return "", false
	}
	if d.Decode(&raw) != nil || hasHalfPair(raw) {
		return "", false
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return "", false
	}
	if _, err := d.Token(); err != io.EOF {
		return "", false
	}
	text, ok = parseString(raw)
	return text, ok && validText(text)
}

// hasHalfPair reports whether a valid JSON string has a half of a surrogate pair, such as \ud800
// (RFC 8259 §8.2).
func hasHalfPair(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // the character after the backslash is a part of the escape
		switch half := surrogate(raw[i-1:]); {
		case half == high && surrogate(raw[i+5:]) == low:
			i += 10
		case half != none:
			return true
		}
	}
	return false
}

// A half of a surrogate pair.
type half uint8

const (
	none half = iota
	high
	low
)

// surrogate returns which half the escape at the beginning of b stands for.
func surrogate(b []byte) half {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return none
	}
	switch n, err := strconv.ParseUint(string(b[2:6]), 16, 16); {
	case err != nil, n < 0xd800, n > 0xdfff:
		return none
	case n < 0xdc00:
		return high
	}
	return low
}
