package h1

import (
	"bytes"
	"net/netip"
	"unsafe"

	"fourways.example/common/stream"
)

// connect is the one method whose target is an authority (RFC 9112 §3.2.3). It is
// answered with 501, which should not depend on the form of its target.
const connect = "CONNECT"

// setTarget takes the request target apart (RFC 9112 §3.2). query is the position
// behind the "?", or 0. The bytes were checked one by one while they came.
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

// setAbsolute reads the absolute form, which is sent to proxies and has to be
// understood by every server (RFC 9112 §3.2.2). t is the target up to its query and
// begins at position at.
func (r *Request) setAbsolute(at stream.Pos, t []byte, hasQuery bool) error {
	scheme, rest, ok := bytes.Cut(t, []byte("://"))
	if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
		return ErrTarget
	}
	authority, path := rest, []byte(nil)
	if i := bytes.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !validHost(authority) { // no "@" in it either: RFC 9110 §4.2.4
		return ErrTarget
	}
	at += stream.Pos(len(scheme) + len("://"))
	r.host = span{at, at + stream.Pos(len(authority))}
	switch {
	case path != nil:
		r.setPath(path)
	case r.Method == OPTIONS && !hasQuery:
		r.setPathText("*") // how a proxy is asked for "OPTIONS *" (RFC 9112 §3.2.4)
	default:
		r.setPathText("/")
	}
	return nil
}

func (r *Request) setPathText(p string) {
	r.path = append(r.path[:0], p...)
	r.Path = r.path
}

// setPath decodes a path's percent-encoding, once. That every "%" has two hex digits
// behind it was seen while they came.
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

// validHost tells whether b is a host with an optional port: uri-host [ ":" port ]
// (RFC 9110 §7.2, RFC 3986 §3.2.2), and not empty.
func validHost(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]")
		i := bytes.IndexByte(b[:min(len(b), longest)], ']')
		if i < 0 {
			return false
		}
		// Not string(b[1:i]): that would allocate, for an error might hold it. This one
		// is gone before b changes.
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

// digits tells whether b is nothing but decimal digits; an empty port is allowed.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
