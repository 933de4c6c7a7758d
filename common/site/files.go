package site

import "fourways.example/common/h1"

// files answers a request for a path that is not the API's and well spelled.
func (s *Site) files(w *h1.Response, r *h1.Request) {
	switch r.Method {
	case h1.GET, h1.HEAD:
	// No file takes any other method, so whether there is one need not be known.
	case h1.OPTIONS:
		options(w, allowReadLine)
		return
	default:
		notAllowed(w, allowReadLine)
		return
	}
	now := s.clock()
	e, err := s.cache.get(r.Path, now)
	if err != nil {
		w.Error(503, "too many open files")
		w.Field("Retry-After", "1")
		w.Close() // one descriptor back
		return
	}
	absent := e.kind == nothing || e.kind == folder
	if s.fallback && absent && !beneath(r.Path, "/private") && s.shows(e, r) {
		e = s.substitute(e, r.Path, now)
	}
	defer e.Release()
	switch {
	case !s.shows(e, r):
		w.Error(403, "log in first")
	case e.kind == regular:
		s.serve(w, r, e)
	case e.kind == folder && !isFolder(r.Path):
		redirect(w, r)
	case e.kind == denied:
		w.Error(403, "not readable")
	case e.kind == broken:
		w.Error(500, "cannot read the file")
	default:
		w.Error(404, "")
	}
}

// shows tells whether the request may see what its path led to.
func (s *Site) shows(e *entry, r *h1.Request) bool { return !e.private || s.authorized(r) }

// substitute is the HTML5 fallback: what is served where path is no file, or e,
// which is what is there. It takes over the reference to e.
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

// redirect sends a client that asked for a folder without its slash to the folder.
func redirect(w *h1.Response, r *h1.Request) {
	w.Error(301, "")
	var memory [256]byte
	b := append(appendEscaped(memory[:0], r.Path), '/')
	if q := r.Query(); len(q) > 0 {
		b = appendQuery(append(b, '?'), q)
	}
	w.FieldBytes("Location", b)
}

// serve answers a GET or HEAD with e, or with what the preconditions make of it.
func (s *Site) serve(w *h1.Response, r *h1.Request, e *entry) {
	c := conditions{etag: e.etag, modified: e.modified, lastMod: e.lastMod, now: s.now()}
	for name, value := range r.Fields() {
		c.add(name, value)
	}
	switch c.verdict() {
	case 304:
		w.Status = 304
		w.RawFields(e.fields[:e.common])
		return
	case 412:
		w.Error(412, "")
		return
	}
	if r.Method == h1.GET { // RFC 9110 §14.2: Range is defined for GET alone
		if value, ok := c.wanted(); ok {
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
