# The Pythons that a zip's extension modules are compiled for. Their file names (_psycopg.cpython-313-x86_64-linux-gnu.so)
# stand in a zip as they are. Terraform reads the zip as base64, in which a text has three forms, by where it begins; each
# is taken without the characters that depend on its neighbours.
locals {
  compiled_for = {
    for name, content in { layer = filebase64(var.layer), package = filebase64(var.package) } : name => [
      for python, forms in local.extension_of : python if anytrue([for form in forms : strcontains(content, form)])
    ]
  }

  extension_of = {
    for minor in range(9, 20) : "python3.${minor}" => [
      for before in ["", "-", "--"] : substr(
        base64encode("${before}.cpython-3${minor}-"),
        before == "" ? 0 : 4,
        floor(length("${before}.cpython-3${minor}-") * 4 / 3) - (before == "" ? 0 : 4),
      )
    ]
  }
}
