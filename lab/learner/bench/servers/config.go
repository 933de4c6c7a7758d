package servers

import (
	"bytes"
	"text/template"
)

// settings are what the configurations of nginx and h2o need to know.
type settings struct {
	Dir      string // of the configuration, for files that the server writes
	Sendfile bool   // sendfile and tcp_nopush, as in the configuration that Debian installs
	Root     string
	Port     int
	Workers  int // one for each CPU, as in stage 4
	Conns    int // the largest number of connections, of all workers
	Files    int // RLIMIT_NOFILE
	User     string
}

// In both configurations the access log is off, as it is in the stages with -s; the limits that end a connection
// after some requests or some seconds are far away; and open files are cached, as the stages do.
var (
	nginxConf = template.Must(template.New("nginx").Parse(`daemon off;
{{- if .User}}
user {{.User}};
{{- end}}
worker_processes {{.Workers}};
worker_rlimit_nofile {{.Files}};
pid {{.Dir}}/nginx.pid;
error_log stderr error;
events {
  worker_connections {{.Conns}};
}
http {
  access_log off;
{{- if .Sendfile}}
  sendfile on;
  tcp_nopush on;
{{- end}}
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  open_file_cache max=100 inactive=600s;
  default_type application/octet-stream;
  types { text/plain txt; }
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  server {
    listen 127.0.0.1:{{.Port}} backlog=4096;
    root {{.Root}};
    location = /api/login {
      default_type application/json;
      return 200 '{}';
    }
  }
}
`))
	h2oConf = template.Must(template.New("h2o").Parse(`{{if .User}}user: {{.User}}
{{end}}num-threads: {{.Workers}}
max-connections: {{.Conns}}
http1-request-timeout: 75
listen:
  host: 127.0.0.1
  port: {{.Port}}
hosts:
  default:
    paths:
      /api/login:
        file.file: {{.Root}}/login.json
      /:
        file.dir: {{.Root}}
`))
)

func render(t *template.Template, s settings) ([]byte, error) {
	var b bytes.Buffer
	err := t.Execute(&b, s)
	return b.Bytes(), err
}
