package main

import (
	"fmt"

	_ "github.com/gogo/protobuf/plugin/marshalto" // plugins of the generator
	_ "github.com/gogo/protobuf/plugin/size"
	_ "github.com/gogo/protobuf/plugin/unmarshal"
	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"
	"github.com/gogo/protobuf/protoc-gen-gogo/generator"
	plugin "github.com/gogo/protobuf/protoc-gen-gogo/plugin"
)

// generate returns the code of files, which make up one Go package, by the
// name of the file it belongs into.
func generate(set *descriptor.FileDescriptorSet, files []string) (map[string][]byte, error) {
	g := generator.New()
	g.Request = &plugin.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      set.File,
	}
	g.CommandLineParameters(g.Request.GetParameter())
	g.WrapTypes()
	g.SetPackageNames()
	g.BuildTypeNameMap()
	g.GenerateAllFiles()
	services := newServices(g)

	out := map[string][]byte{}
	for i, file := range g.Response.File {
		code, err := strip(file.GetContent())
		if err != nil {
			return nil, fmt.Errorf("generate %s: %w", file.GetName(), err)
		}
		service, err := services.render(files[i])
		if err != nil {
			return nil, fmt.Errorf("generate %s: %w", files[i], err)
		}
		out[file.GetName()] = code
		if service != nil {
			out[serviceFile(file.GetName())] = service
		}
	}
	return out, nil
}
