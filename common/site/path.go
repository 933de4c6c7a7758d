package site

import "bytes"

// classify examines the spelling of a percent-decoded path, without resolving it.
//
// private reports that the path is /private or begins with /private/. No other spelling
// leads there: every path that would, if a server resolved it, is bad.
//
// bad reports that the path cannot name a file of the site: it has a dot segment, an empty
// segment, or a name that begins with a dot. The server never resolves such a path. A
// server that resolves paths must do it exactly as the kernel does; otherwise an attacker
// finds a path on which the two differ.
func classify(path []byte) (private, bad bool) {
	private = within(path, "/private")
	for rest, first := path[1:], true; ; first = false {
		segment, after, more := bytes.Cut(rest, slash)
		switch {
		case len(segment) == 0 && more: // only the last segment may be empty, after the slash of a folder
			return private, true
		case len(segment) > 0 && segment[0] == '.' && !(first && string(segment) == ".well-known"):
			return private, true // the only exception is /.well-known (RFC 8615)
		case !more:
			return private, false
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
