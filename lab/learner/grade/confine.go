package grade

import (
	"context"
	"errors"
	"fmt"
	"os"

	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
)

// A confinement is what the program may use. The flags are for teachers who grade programs that they have not read.
type confinement struct {
	Confine   bool  `help:"Run the program without any network but loopback, and with the limits below. If this machine allows no network namespaces, the report says so."`
	MaxMemory int64 `default:"1024" placeholder:"MB" help:"With --confine: the resident memory of the program and its child processes, in MB."`
	MaxTasks  int   `default:"1024" placeholder:"N" help:"With --confine: the number of its processes and threads."`
	MaxFiles  int   `default:"16384" placeholder:"N" help:"With --confine: the number of its open files."`
}

// maxFileSize is the largest file that a confined program may write, in bytes: more than any log of a case.
const maxFileSize = 256 << 20

// ErrStatus is the exit status of a run in a network of its own, which has printed the report already.
type ErrStatus int

func (e ErrStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// enter runs this command again in a network of its own. done is false if it should go on here: note then says what
// confines the program.
func (c *confinement) enter(ctx context.Context) (note string, done bool, err error) {
	if !c.Confine {
		return "", false, nil
	}
	limits := fmt.Sprintf("at most %d MB of memory, %d processes and threads, %d open files", c.MaxMemory, c.MaxTasks, c.MaxFiles)
	if netns.Inside() {
		return "The program has no network but loopback, and " + limits + ".", false, nil
	}
	status, err := netns.Again(ctx, netns.BothFamilies)
	switch {
	case err != nil:
		return fmt.Sprintf("The program can reach the network, because this machine allows no network namespaces (%v). It has %s.", err, limits), false, nil
	case status != 0:
		return "", true, ErrStatus(status)
	}
	return "", true, nil
}

// bounds returns the limits for the program's processes.
func (c *confinement) bounds() process.Bounds {
	if !c.Confine {
		return process.Bounds{}
	}
	return process.Bounds{Memory: c.MaxMemory << 20, Tasks: c.MaxTasks, Files: c.MaxFiles, Size: maxFileSize}
}

// buildLog returns the end of the file with the output of the build.
func buildLog(name string) (string, error) {
	const most = 8 << 10
	if name == "" {
		return "", nil
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if len(b) > most {
		b = append([]byte("…"), b[len(b)-most:]...)
	}
	return string(b), err
}
