package site

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"fourways.example/common/h1"
)

// Config says what is served and to whom.
type Config struct {
	Root     string // the folder to serve
	Fallback bool   // -a: serve PATH.html, /200.html or /index.html where a path is no file

	// The one account. While any of the three is empty nobody can log in: there is no
	// built-in password, and an empty secret would let everybody sign tokens.
	User, Pass string
	Secret     []byte
	TokenLife  time.Duration // whole seconds; at most zero means a day

	now func() time.Time // for tests; nil means time.Now
}

// Site serves one folder. All its methods may be called from many threads at once.
type Site struct {
	root     *os.Root
	dir      *os.File // the root once more, to ask where it lies now
	fallback bool
	now      func() time.Time
	start    time.Time // what the cache's times count from, on the monotonic clock
	cache    *cache
	account  account
	loadavg  *os.File // /proc/loadavg, kept open; nil if there is none
	meminfo  *os.File // /proc/meminfo, likewise
	video    videoList
}

// New opens the folder that c names.
func New(c Config) (*Site, error) {
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return nil, fmt.Errorf("site: cannot serve %q: %w; give an existing folder with --root", c.Root, reason(err))
	}
	s := &Site{root: root, fallback: c.Fallback, now: c.now}
	if s.now == nil {
		s.now = time.Now
	}
	s.start = s.now()
	s.cache = newCache(maxOpen, s.load)
	s.account = newAccount(c)
	if s.dir, err = root.Open("."); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("site: cannot read %q: %w; give a folder that this user may read with --root", c.Root, reason(err))
	}
	if _, err := whereIs(s.dir); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("site: cannot tell where %q lies: %w; mount /proc, which guards /private", c.Root, reason(err))
	}
	// Where these two are missing, their resources are 404.
	s.loadavg, _ = os.Open("/proc/loadavg")
	s.meminfo, _ = os.Open("/proc/meminfo")
	return s, nil
}

// reason takes the bare cause out of a path error: the caller names the path itself.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Close gives every descriptor back, except of files that are still being sent:
// those are closed when the last of them is out. No Handle may run any more.
func (s *Site) Close() error {
	s.cache.drop(func(*entry) bool { return true })
	for _, f := range []*os.File{s.dir, s.loadavg, s.meminfo} {
		if f != nil {
			_ = f.Close()
		}
	}
	return s.root.Close()
}

// Field lines that are the same in many responses.
const (
	allowRead  = "Allow: GET, HEAD, OPTIONS\r\n"
	allowPost  = "Allow: POST, OPTIONS\r\n"
	allowLogin = "Allow: GET, HEAD, POST, OPTIONS\r\n" // also the methods of all resources together
	nosniff    = "X-Content-Type-Options: nosniff\r\n"
	noStore    = "Cache-Control: no-store\r\n"
	asJSON     = "Content-Type: application/json\r\n" + nosniff + noStore
	asText     = "Content-Type: text/plain; charset=utf-8\r\n" + nosniff + noStore
)

// They are bytes as well, so that no request converts them.
var (
	allowReadLine  = []byte(allowRead)
	allowPostLine  = []byte(allowPost)
	allowLoginLine = []byte(allowLogin)
	jsonLines      = []byte(asJSON)
	textLines      = []byte(asText)
	plainLines     = []byte(nosniff + noStore)
	ok             = []byte("ok")
	emptyObject    = []byte("{}")
)

// Handle answers one request. It is an h1.Handler.
func (s *Site) Handle(w *h1.Response, r *h1.Request) {
	if string(r.Path) == "*" { // RFC 9110 §9.3.7: about the server, not about a resource
		options(w, allowLoginLine)
		return
	}
	private, bad := judge(r.Path)
	switch {
	// Before everything else, the method included: who has no token learns nothing
	// about /private, not even whether a name exists there.
	case private && !s.authorized(r):
		w.Error(403, "log in first")
	case bad:
		w.Error(404, "")
	case !s.api(w, r):
		s.files(w, r)
	}
}

// api answers if the path is one of the API's and tells whether it was. The API
// wins over a file of the same name.
func (s *Site) api(w *h1.Response, r *h1.Request) bool {
	switch string(r.Path) {
	case "/healthz":
		if reads(w, r) {
			w.RawFields(textLines)
			w.Bytes(ok)
		}
	case "/echo":
		s.echo(w, r)
	case "/loadavg", "/api/loadavg":
		if reads(w, r) {
			s.serveLoadavg(w)
		}
	case "/meminfo", "/api/meminfo":
		if reads(w, r) {
			s.serveMeminfo(w)
		}
	case "/api/login":
		s.login(w, r)
	case "/api/logout":
		s.logout(w, r)
	case "/api/video":
		if reads(w, r) {
			s.serveVideo(w)
		}
	default:
		if !beneath(r.Path, "/api") {
			return false
		}
		w.Error(404, "")
	}
	return true
}

// reads tells whether r is a GET or HEAD of a resource that has only these, and
// answers for every other method.
func reads(w *h1.Response, r *h1.Request) bool {
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

// posts is reads for a resource that has only POST.
func posts(w *h1.Response, r *h1.Request) bool {
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

// echo sends the body back. Its Content-Type is the client's own text: h1 has let
// no control byte through, so it cannot end the field line, and nosniff keeps a
// browser from taking it for anything else.
func (s *Site) echo(w *h1.Response, r *h1.Request) {
	if !posts(w, r) {
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

// exhausted tells whether an error means that there are no descriptors left, which
// passes, while every other error of an open is about the file.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// clock is the time for the cache: nanoseconds since New, which no change of the
// system's date can move.
func (s *Site) clock() int64 { return int64(s.now().Sub(s.start)) }
