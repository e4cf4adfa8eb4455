// Renders a chart as `helm template` does, as far as this chart needs it, for machines that have no Helm:
//
//	render CHART RELEASE NAMESPACE < values.json
//
// The values on standard input are merged over values.yaml. Validation by values.schema.json is left to who calls.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type files struct{ folder string }

func (f files) Get(name string) string {
	content, err := os.ReadFile(filepath.Join(f.folder, name))
	must(err)
	return string(content)
}

// merge is what Helm does with values: maps by key, a null takes a key away, everything else is replaced.
func merge(base, over map[string]interface{}) map[string]interface{} {
	for key, value := range over {
		below, isMap := base[key].(map[string]interface{})
		if above, both := value.(map[string]interface{}); both && isMap {
			base[key] = merge(below, above)
		} else if value == nil {
			delete(base, key)
		} else {
			base[key] = value
		}
	}
	return base
}

func readYaml(file string) map[string]interface{} {
	content, err := os.ReadFile(file)
	must(err)
	parsed := map[string]interface{}{}
	must(yaml.Unmarshal(content, &parsed))
	return parsed
}

func main() {
	folder, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	chart := map[string]interface{}{}
	for key, value := range readYaml(filepath.Join(folder, "Chart.yaml")) {
		chart[strings.ToUpper(key[:1])+key[1:]] = value
	}
	given, err := io.ReadAll(os.Stdin)
	must(err)
	over := map[string]interface{}{}
	must(json.Unmarshal(given, &over))

	root := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	// Helm leaves them out.
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = func(value interface{}) string {
		content, err := yaml.Marshal(value)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(content), "\n")
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if text, isText := value.(string); value == nil || (isText && text == "") {
			return value, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	root.Funcs(functions)

	paths, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	must(err)
	sort.Strings(paths)
	names := []string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		must(err)
		name := chart["Name"].(string) + "/templates/" + filepath.Base(path)
		_, err = root.New(name).Parse(string(content))
		must(err)
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		data := map[string]interface{}{
			"Values":   merge(readYaml(filepath.Join(folder, "values.yaml")), over),
			"Chart":    chart,
			"Files":    files{folder},
			"Release":  map[string]interface{}{"Name": release, "Namespace": namespace, "Revision": 1, "Service": "Helm"},
			"Template": map[string]interface{}{"Name": name, "BasePath": chart["Name"].(string) + "/templates"},
		}
		var out bytes.Buffer
		must(root.ExecuteTemplate(&out, name, data))
		// Helm writes "<no value>" as nothing.
		fmt.Printf("---\n# Source: %s\n%s\n", name, strings.ReplaceAll(out.String(), "<no value>", ""))
	}
}
