package site

import "bytes"

// judge reads the spelling of a percent-decoded path. bad means that it can name
// nothing here: it has a dot segment or an empty one, or a name that begins with a
// dot. Such a path is never resolved, because whoever resolves paths has to do it
// exactly as the kernel does or is walked around.
//
// private means that the path is /private or beneath it under any reading: as it
// stands, with empty and dot segments dropped, or with ".." going up. The last two
// are bad as well; they count only so that no spelling tells a client without a
// token more than another.
func judge(path []byte) (private, bad bool) {
	depth := 0 // segments that are left when dot segments are resolved
	for rest, first := path[1:], true; ; first = false {
		segment, behind, more := bytes.Cut(rest, slash)
		switch {
		case len(segment) == 0:
			bad = bad || more // the last one may be empty: that is a folder's slash
		case string(segment) == ".":
			bad = true
		case string(segment) == "..":
			bad = true
			depth = max(0, depth-1)
		default:
			if segment[0] == '.' && !(first && string(segment) == ".well-known") {
				bad = true // RFC 8615 is the one exception
			}
			private = private || depth == 0 && string(segment) == "private"
			depth++
		}
		if !more {
			return private, bad
		}
		rest = behind
	}
}

var slash = []byte("/")

// beneath tells whether path is the folder or something in it.
func beneath(path []byte, folder string) bool {
	return len(path) >= len(folder) && string(path[:len(folder)]) == folder &&
		(len(path) == len(folder) || path[len(folder)] == '/')
}

// isFolder tells whether a path asks for a folder's index.
func isFolder(path []byte) bool { return path[len(path)-1] == '/' }

// appendEscaped appends a decoded path, percent-encoded for a Location field:
// RFC 3986 §3.3's pchar and the slash stay, everything else is escaped. The result
// cannot begin with two slashes, which a browser would take for a host, because a
// path with an empty segment never comes here.
func appendEscaped(b, path []byte) []byte {
	for _, c := range path {
		if c == '%' || !urlByte(c) || c == '?' {
			b = appendHex(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// appendQuery appends a query as the client sent it, escaping only the bytes that
// browsers send raw although RFC 3986 §3.4 has no place for them.
func appendQuery(b, query []byte) []byte {
	for _, c := range query {
		if urlByte(c) {
			b = append(b, c)
		} else {
			b = appendHex(b, c)
		}
	}
	return b
}

func appendHex(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// urlByte tells whether c may stand in a query: pchar, slash and question mark, and
// the percent sign of an escape.
func urlByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return bytes.IndexByte(urlMarks, c) >= 0
}

var urlMarks = []byte("-._~!$&'()*+,;=:@/?%")
