package h1

import (
	"bytes"
	"net/netip"
	"unsafe"

	"fourways.example/common/stream"
)

// connect is the only method whose target is an authority (RFC 9112 §3.2.3). The server
// answers CONNECT with 501 and does not check the form of its target.
const connect = "CONNECT"

// setTarget splits the request target into its parts (RFC 9112 §3.2). query is the
// position after the "?", or 0. The parser has already checked every byte of the target.
func (r *Request) setTarget(s span, query stream.Pos) error {
	r.target = s
	path := s
	if query != 0 {
		r.query = span{query, s.to}
		path.to = query - 1
	}
	switch t := r.bytes(path); {
	case len(t) > 0 && t[0] == '/':
		r.setPath(t)
		return nil
	case string(t) == "*" && r.Method == OPTIONS && query == 0:
		r.setPathText("*")
		return nil
	case string(r.bytes(r.method)) == connect:
		return nil
	default:
		return r.setAbsolute(path.from, t, query != 0)
	}
}

// setAbsolute reads the absolute form. Clients send it to proxies, but every server must
// accept it (RFC 9112 §3.2.2). t is the target without its query, and at is the position
// of its first byte.
func (r *Request) setAbsolute(at stream.Pos, t []byte, hasQuery bool) error {
	scheme, rest, ok := bytes.Cut(t, []byte("://"))
	if !ok || !EqualFold(scheme, "http") && !EqualFold(scheme, "https") {
		return ErrTarget
	}
	authority, path := rest, []byte(nil)
	if i := bytes.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !validHost(authority) { // this refuses userinfo too (RFC 9110 §4.2.4)
		return ErrTarget
	}
	at += stream.Pos(len(scheme) + len("://"))
	r.host = span{at, at + stream.Pos(len(authority))}
	switch {
	case path != nil:
		r.setPath(path)
	case r.Method == OPTIONS && !hasQuery:
		r.setPathText("*") // the form of "OPTIONS *" that clients send to a proxy (RFC 9112 §3.2.4)
	default:
		r.setPathText("/")
	}
	return nil
}

func (r *Request) setPathText(p string) {
	r.path = append(r.path[:0], p...)
	r.Path = r.path
}

// setPath percent-decodes raw once and stores it as the path. The parser has already
// checked that two hex digits follow every "%".
func (r *Request) setPath(raw []byte) {
	p := r.path[:0]
	for {
		i := bytes.IndexByte(raw, '%')
		if i < 0 {
			break
		}
		c := byte(hex(raw[i+1])<<4 | hex(raw[i+2]))
		p = append(append(p, raw[:i]...), c)
		raw = raw[i+3:]
	}
	r.path = append(p, raw...)
	r.Path = r.path
}

// validHost reports whether b is a nonempty host with an optional port: uri-host
// [ ":" port ] (RFC 9110 §7.2, RFC 3986 §3.2.2).
func validHost(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]")
		i := bytes.IndexByte(b[:min(len(b), longest)], ']')
		if i < 0 {
			return false
		}
		// string(b[1:i]) would allocate, because an error of ParseAddr could keep it.
		// unsafe.String does not copy. Its result is not used after b changes.
		addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b[1:i]), i-1))
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return false
		}
		if b = b[i+1:]; len(b) > 0 && b[0] != ':' {
			return false
		}
		return len(b) == 0 || digits(b[1:])
	}
	for i, c := range b {
		switch {
		case c == ':':
			return i > 0 && digits(b[i+1:])
		case class[c]&isRegName == 0:
			return false
		case c == '%' && (i+2 >= len(b) || hex(b[i+1]) < 0 || hex(b[i+2]) < 0):
			return false
		}
	}
	return len(b) > 0
}

// digits reports whether b contains only decimal digits. It accepts an empty b, because a
// port may be empty.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
