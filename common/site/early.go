package site

import "fourways.example/common/h1"

// Early answers a request whose answer is certain from its head alone, as the Early of an
// h1.Config. It answers only requests that fail in the same way with any body: with 403,
// 404, 405 or 413. It never does the work of a request that succeeds and depends on its
// body.
func (s *Site) Early(w *h1.Response, r *h1.Request) (certain bool) {
	if r.Method == h1.POST {
		switch string(r.Path) {
		case "/api/login":
			return s.refuseLogin(w, r.Length)
		case "/api/notes":
			return s.refuseNote(w, r, r.Length)
		case "/api/logout", "/echo":
			return false // they succeed
		}
	}
	s.Handle(w, r)
	switch w.Status {
	case 403, 404, 405, 413:
		return true
	}
	return false
}
