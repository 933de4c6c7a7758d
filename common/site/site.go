package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fourways.example/common/h1"
)

// A Config holds the settings of a site.
type Config struct {
	Root     string // the folder to serve
	Fallback bool   // if a path is not a file, serve PATH.html, /200.html or /index.html

	// User, Pass and Secret define the only account. If one of them is empty, nobody can
	// log in: there is no default password, and with an empty secret any client could sign
	// a token.
	User, Pass string
	Secret     []byte
	TokenLife  time.Duration // in whole seconds; zero or less means 24 hours

	// Stage and Version name the server in the answer of /api/server.
	Stage, Version string

	// Tier says that the notes are in the other tier, see h1.Config.Tier. Otherwise they are kept
	// in memory.
	Tier bool

	// Warn is called for a problem that no client sees, with arguments as for fmt.Printf. nil
	// means that nobody reads the message.
	Warn func(format string, args ...any)

	now func() time.Time // for tests; nil means time.Now
}

// A Site serves one folder. Several threads may call its methods at the same time, except
// Close.
type Site struct {
	name     string // the name of the root, absolute
	fallback bool
	now      func() time.Time
	warn     func(format string, args ...any)
	start    time.Time // the zero of the site's clock, on the monotonic clock
	cache    *cache
	account  account
	loadavg  *os.File // /proc/loadavg, kept open; nil if it cannot be opened
	meminfo  *os.File // /proc/meminfo, kept open; nil if it cannot be opened
	video    videoList
	book     *book  // the notes, if they are kept in memory
	server   []byte // the answer of /api/server

	mu   sync.Mutex // guards root and root.holders; never held during a system call
	root *root      // the folder that has the name now

	rootChecked atomic.Int64 // when followRoot last checked the name, on the site's clock
}

// New opens the folder that c names.
func New(c Config) (*Site, error) {
	name := absolute(c.Root)
	root, err := openRoot(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("site: cannot read %q: %w; give a folder that this user may read with --root", c.Root, reason(err))
	}
	if err != nil {
		return nil, fmt.Errorf("site: cannot serve %q: %w; give an existing folder with --root", c.Root, reason(err))
	}
	s := &Site{root: root, name: name, fallback: c.Fallback, now: c.now, warn: c.Warn}
	if s.now == nil {
		s.now = time.Now
	}
	if s.warn == nil {
		s.warn = func(string, ...any) {}
	}
	s.start = s.now()
	s.video.limit = maxWalk
	s.cache = newCache(maxOpen, s.load)
	s.account = newAccount(c)
	if !c.Tier {
		s.book = new(book)
	}
	s.server = serverJSON(c.Stage, c.Version)
	if _, err := realPath(root.dir); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("site: cannot find the real path of %q: %w; mount /proc, which the check for /private needs", c.Root, reason(err))
	}
	// If one of these is missing, its resource answers 404.
	s.loadavg, _ = os.Open("/proc/loadavg")
	s.meminfo, _ = os.Open("/proc/meminfo")
	return s, nil
}

// reason returns the cause of an error of a call, without the call and the path. The caller's
// message already contains the path.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// Close closes the descriptors of the site. A file that a response is still sending is
// closed after that response. No call of Handle may be running.
func (s *Site) Close() error {
	s.cache.drop(func(*entry) bool { return true })
	for _, f := range []*os.File{s.loadavg, s.meminfo} {
		if f != nil {
			_ = f.Close()
		}
	}
	s.release(s.root)
	return nil
}

const (
	nosniff = "X-Content-Type-Options: nosniff\r\n"
	noStore = "Cache-Control: no-store\r\n"
)

// Field lines and bodies that many responses share. They are byte slices, so that a request
// need not convert a string.
var (
	allowReadLine  = []byte("Allow: GET, HEAD, OPTIONS\r\n")
	allowPostLine  = []byte("Allow: POST, OPTIONS\r\n")
	allowLoginLine = []byte("Allow: GET, HEAD, POST, OPTIONS\r\n") // also of /api/notes, and the methods of all resources together
	jsonLines      = []byte("Content-Type: application/json\r\n" + nosniff + noStore)
	textLines      = []byte("Content-Type: text/plain; charset=utf-8\r\n" + nosniff + noStore)
	plainLines     = []byte(nosniff + noStore)
	ok             = []byte("ok")
	emptyObject    = []byte("{}")
)

// Handle answers one request. It is an h1.Handler.
func (s *Site) Handle(w *h1.Response, r *h1.Request) {
	if string(r.Path) == "*" { // RFC 9110 §9.3.7: the methods of the server, not of one resource
		options(w, allowLoginLine)
		return
	}
	private, bad := classify(r.Path)
	switch {
	// This check is the first, even before the method. A client without a token must learn
	// nothing about /private, not even whether a name exists there.
	case private && !s.authorized(r):
		w.Error(403, "log in first")
	case bad:
		w.Error(404, "")
	case !s.api(w, r):
		s.files(w, r)
	}
}

// api answers a request for a path of the API. It reports whether the path belongs to the
// API. A file with the path of an API resource is never served.
func (s *Site) api(w *h1.Response, r *h1.Request) bool {
	switch string(r.Path) {
	case "/healthz":
		if allowRead(w, r) {
			w.RawFields(textLines)
			w.Bytes(ok)
		}
	case "/echo":
		s.echo(w, r)
	case "/loadavg", "/api/loadavg":
		if allowRead(w, r) {
			s.serveLoadavg(w)
		}
	case "/meminfo", "/api/meminfo":
		if allowRead(w, r) {
			s.serveMeminfo(w)
		}
	case "/api/login":
		s.login(w, r)
	case "/api/logout":
		s.logout(w, r)
	case "/api/video":
		if allowRead(w, r) {
			s.serveVideo(w)
		}
	case "/api/notes":
		s.serveNotes(w, r)
	case "/api/server":
		if allowRead(w, r) {
			w.RawFields(jsonLines)
			w.Bytes(s.server)
		}
	default:
		if !within(r.Path, "/api") {
			return false
		}
		w.Error(404, "")
	}
	return true
}

// serverJSON returns the answer of /api/server.
func serverJSON(stage, version string) []byte {
	b, _ := json.Marshal(struct { // strings cannot fail
		Stage   string `json:"stage"`
		Version string `json:"version"`
	}{stage, version})
	return b
}

// allowRead reports whether the method is GET or HEAD. It answers a request with any other
// method. It is for resources that have only these two.
func allowRead(w *h1.Response, r *h1.Request) bool {
	switch r.Method {
	case h1.GET, h1.HEAD:
		return true
	case h1.OPTIONS:
		options(w, allowReadLine)
	default:
		notAllowed(w, allowReadLine)
	}
	return false
}

// allowPost is like allowRead, for resources that have only POST.
func allowPost(w *h1.Response, r *h1.Request) bool {
	switch r.Method {
	case h1.POST:
		return true
	case h1.OPTIONS:
		options(w, allowPostLine)
	default:
		notAllowed(w, allowPostLine)
	}
	return false
}

func options(w *h1.Response, allow []byte) {
	w.Status = 204
	w.RawFields(allow)
}

func notAllowed(w *h1.Response, allow []byte) {
	w.Error(405, "")
	w.RawFields(allow)
}

// echo sends the body of the request back, with the Content-Type of the request. This is
// safe: h1 refuses control bytes in field values, so the value cannot add another field
// line. nosniff forbids a browser to guess another type from the content.
func (s *Site) echo(w *h1.Response, r *h1.Request) {
	if !allowPost(w, r) {
		return
	}
	kind, _ := r.Get("Content-Type")
	if len(kind) == 0 {
		w.Field("Content-Type", otherType)
	} else {
		w.FieldBytes("Content-Type", kind)
	}
	w.RawFields(plainLines)
	w.Bytes(r.Body)
}

// exhausted reports whether an open failed because there are no descriptors left. This
// failure is temporary and says nothing about the file.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// clock returns the time on the site's clock: nanoseconds since New. A change of the
// system's date does not affect it.
func (s *Site) clock() int64 { return int64(s.now().Sub(s.start)) }
