package docroot

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// FileTexts has more small files by their names, for the cases about names.
var FileTexts = map[string]string{
	"v1.0/readme":                  "a suffix in the folder's name, none in the file's\n",
	"two.png.txt":                  "the last suffix counts\n",
	"ends-in-dot.":                 "a dot and no suffix\n",
	"percent % ?#&/index.html":     "<!DOCTYPE html>\n<title>a folder to be escaped</title>\n",
	"\\\\host/index.html":          "<!DOCTYPE html>\n<title>a folder that a browser may take for a host</title>\n",
	"sub/.well-known/x":            "not at the top\n",
	"privately.txt":                "begins like private\n",
	"private.txt":                  "private with a suffix\n",
	"sub/private/open.txt":         "private, but not at the top\n",
	"index-folder/index.html/x":    "index.html is a folder\n",
	"private/empty.txt":            "",
	"private/.dot":                 "a dot name in private\n",
	"private/a b.txt":              "a space in private\n",
	"private/%73ecret.txt":         "decoding the name twice gives secret.txt\n",
	"range/alphabet.txt":           "abcdefghijklmnopqrstuvwxyz",
	"range/one.txt":                "x",
	"healthz.txt":                  "not the resource of that name\n",
	"api.txt":                      "not below api\n",
	"quote\"and'apostrophe<&>.txt": "marks in a name\n",
	"marks\"<>\\`{}[]|^.txt":       "marks that browsers escape, and marks that they do not\n",
}

// fileLinks has more symbolic links. See links.
var fileLinks = map[string]string{
	"link-chain.txt":            "sub/link-up.txt",
	"link-out-and-back.txt":     "../ROOT_NAME/plain.txt",
	"link-abs-dir":              "ROOT/sub",
	"link-etc":                  "/etc",
	"link-fifo":                 "fifo",
	"link-null":                 "/dev/null",
	"fifo-folder/index.html":    "../fifo",
	"sub/link-private-up.txt":   "../private/secret.txt",
	"link-private-chain.txt":    "sub/link-private-up.txt",
	"link-private-deep":         "private/sub",
	"private-index/index.html":  "../private/index.html",
	"link-private-dangling.txt": "private/nothing-there",
	"private/link-to-plain.txt": "../plain.txt",
	"private/link-dir":          "../sub",
}

// Specials has sockets and devices, by name. To open one may wait or act on a device.
var Specials = map[string]struct{ mode, dev uint32 }{
	"socket":      {unix.S_IFSOCK, 0},
	"device-null": {unix.S_IFCHR, 1<<8 | 3},
	"device-zero": {unix.S_IFCHR, 1<<8 | 5},
	"device-tty":  {unix.S_IFCHR, 5 << 8},
}

// putSpecials makes the Specials that this user may make: some need root.
func (r *Root) putSpecials() error {
	for name, s := range Specials {
		err := unix.Mknod(r.Path(name), s.mode|0o644, int(s.dev))
		if err != nil && !errors.Is(err, unix.EPERM) {
			return os.NewSyscallError("mknod", err)
		}
	}
	return nil
}
