package site

import "strings"

// otherType is the content type of a file whose suffix is not in types.
const otherType = "application/octet-stream"

// types maps the suffix of a name to a content type. It replaces the table of the operating
// system, so that all machines serve the same types. Text types have charset=utf-8. JSON
// has no such parameter (RFC 8259 §11).
var types = map[string]string{
	".avif":        "image/avif",
	".css":         "text/css; charset=utf-8",
	".csv":         "text/csv; charset=utf-8",
	".gif":         "image/gif",
	".gz":          "application/gzip",
	".htm":         "text/html; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/vnd.microsoft.icon",
	".jpeg":        "image/jpeg",
	".jpg":         "image/jpeg",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".m4a":         "audio/mp4",
	".map":         "application/json",
	".md":          "text/markdown; charset=utf-8",
	".mjs":         "text/javascript; charset=utf-8",
	".mp3":         "audio/mpeg",
	".mp4":         "video/mp4",
	".ogg":         "audio/ogg",
	".otf":         "font/otf",
	".pdf":         "application/pdf",
	".png":         "image/png",
	".svg":         "image/svg+xml; charset=utf-8",
	".ttf":         "font/ttf",
	".txt":         "text/plain; charset=utf-8",
	".vtt":         "text/vtt; charset=utf-8",
	".wasm":        "application/wasm",
	".wav":         "audio/wav",
	".webm":        "video/webm",
	".webmanifest": "application/manifest+json",
	".webp":        "image/webp",
	".woff":        "font/woff",
	".woff2":       "font/woff2",
	".xml":         "text/xml; charset=utf-8",
	".zip":         "application/zip",
}

// typeOf returns the content type for the suffix of name. Letter case does not matter.
func typeOf(name string) string {
	// If the last dot is in the name of a folder, the suffix contains a slash and is not in
	// types.
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if t, ok := types[strings.ToLower(name[dot:])]; ok {
			return t
		}
	}
	return otherType
}
