package site

import "bytes"

// classify examines the spelling of a percent-decoded path, without resolving it.
//
// bad reports that the path cannot name a file of the site: it has a dot segment, an empty
// segment, or a name that begins with a dot. The server never resolves such a path. A
// server that resolves paths must do it exactly as the kernel does; otherwise an attacker
// finds a path on which the two differ.
//
// private reports that the path is /private or in /private, in any interpretation: without
// changes, without its empty and dot segments, or after resolving "..". In the last two
// cases the path is also bad. It still counts as private, so that a client without a token
// gets the same answer for every spelling.
func classify(path []byte) (private, bad bool) {
	depth := 0 // segments that are left after dot segments are resolved
	for rest, first := path[1:], true; ; first = false {
		segment, after, more := bytes.Cut(rest, slash)
		switch {
		case len(segment) == 0:
			bad = bad || more // only the last segment may be empty, after the slash of a folder
		case string(segment) == ".":
			bad = true
		case string(segment) == "..":
			bad = true
			depth = max(0, depth-1)
		default:
			if segment[0] == '.' && !(first && string(segment) == ".well-known") {
				bad = true // the only exception is /.well-known (RFC 8615)
			}
			private = private || depth == 0 && string(segment) == "private"
			depth++
		}
		if !more {
			return private, bad
		}
		rest = after
	}
}

var slash = []byte("/")

// within reports whether path is folder or a path in folder.
func within(path []byte, folder string) bool {
	return len(path) >= len(folder) && string(path[:len(folder)]) == folder &&
		(len(path) == len(folder) || path[len(folder)] == '/')
}

// isFolder reports whether path ends with a slash, and so names the index of a folder.
func isFolder(path []byte) bool { return path[len(path)-1] == '/' }

// appendEscaped appends a decoded path in percent-encoding, for a Location field. It keeps
// slashes and the bytes that RFC 3986 §3.3 allows in a segment (pchar), and escapes all
// others. The result never begins with two slashes, because classify refuses a path with an
// empty segment. After two slashes, a browser would expect the name of a host.
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

// appendQuery appends a query as the client sent it. It escapes only the bytes that RFC 3986
// §3.4 does not allow, because browsers send some of them unescaped.
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

// appendHex appends c in percent-encoding.
func appendHex(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// urlByte reports whether c is allowed in a query: pchar, slash, question mark, and the
// percent sign of an escape.
func urlByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return bytes.IndexByte(urlMarks, c) >= 0
}

var urlMarks = []byte("-._~!$&'()*+,;=:@/?%")
