package site

import "fourways.example/common/h1"

// files answers a request for a path outside of the API that classify did not refuse.
func (s *Site) files(w *h1.Response, r *h1.Request) {
	switch r.Method {
	case h1.GET, h1.HEAD:
	// All files have the same methods, so the other cases need not open the file.
	case h1.OPTIONS:
		options(w, allowReadLine)
		return
	default:
		notAllowed(w, allowReadLine)
		return
	}
	now := s.clock()
	s.followRoot(now)
	e, err := s.cache.get(r.Path, now)
	if err != nil {
		unavailable(w, err)
		return
	}
	absent := e.kind == missing || e.kind == folder
	if s.fallback && absent && !within(r.Path, "/private") && s.mayRead(e, r) {
		e = s.substitute(e, r.Path, now)
	}
	defer e.Release()
	switch {
	case !s.mayRead(e, r):
		w.Error(403, "log in first")
	case e.kind == regular:
		s.serve(w, r, e)
	case e.kind == folder && !isFolder(r.Path):
		redirect(w, r)
	case e.kind == denied:
		w.Error(403, "the server has no permission to read this file")
	case e.kind == broken:
		w.Error(500, "the server cannot read this file")
	default:
		w.Error(404, "")
	}
}

// unavailable answers a request for a file that cannot be opened now, for a reason that says
// nothing about the file.
func unavailable(w *h1.Response, err error) {
	if exhausted(err) {
		later(w, "too many open files")
		w.Close() // to free the descriptor of this connection
	} else {
		later(w, "the server cannot read this file now")
	}
}

// later answers with 503 for a failure that may soon be over.
func later(w *h1.Response, text string) {
	w.Error(503, text)
	w.Field("Retry-After", "1")
}

// mayRead reports whether the request may read e. A private entry needs a valid token.
func (s *Site) mayRead(e *entry, r *h1.Request) bool { return !e.private || s.authorized(r) }

// substitute implements the HTML5 fallback. If path is not a file, it returns the entry of
// the first file that exists of PATH.html, /200.html and /index.html, and releases e. If
// none of them exists, it returns e.
func (s *Site) substitute(e *entry, path []byte, now int64) *entry {
	names := [...]string{string(path) + ".html", "/200.html", "/index.html"}
	for i, name := range names {
		if i == 0 && isFolder(path) {
			continue // a folder has no PATH.html
		}
		sub, err := s.cache.get([]byte(name), now)
		if err != nil {
			continue
		}
		if sub.kind == regular {
			e.Release()
			return sub
		}
		sub.Release()
	}
	return e
}

// redirect answers a request for a folder without the final slash. It redirects the client
// to the path with the slash, so that relative links in the folder's page work.
func redirect(w *h1.Response, r *h1.Request) {
	w.Error(301, "")
	var memory [256]byte
	b := append(appendEscaped(memory[:0], r.Path), '/')
	if q := r.Query(); len(q) > 0 {
		b = appendQuery(append(b, '?'), q)
	}
	w.FieldBytes("Location", b)
}

// serve answers a GET or HEAD request with the file e, with a part of it, or with the
// status of a precondition.
func (s *Site) serve(w *h1.Response, r *h1.Request, e *entry) {
	c := conditions{etag: e.etag, modified: e.modified, lastMod: e.lastMod, strongDate: e.strongDate, now: s.now}
	for name, value := range r.Fields() {
		c.add(name, value)
	}
	switch c.evaluate() {
	case 304:
		w.Status = 304
		w.RawFields(e.fields[:e.common])
		return
	case 412:
		w.Error(412, "")
		return
	}
	if r.Method == h1.GET { // RFC 9110 §14.2 defines Range only for GET
		if value, ok := c.rangeField(); ok {
			var memory [maxRanges]byteRange
			switch ranges, status := parseRanges(memory[:0], value, e.size); status {
			case 206:
				serveRanges(w, e, ranges)
				return
			case 416:
				unsatisfiable(w, e)
				return
			}
		}
	}
	w.RawFields(e.fields)
	e.send(w, 0, e.size)
}
