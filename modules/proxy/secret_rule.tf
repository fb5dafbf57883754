# What looks like a secret, by name and by value: regular expressions. The same in modules/function, modules/proxy and
# policies/secret_rule.py, since modules share no file; a test holds the three equal.
locals {
  secret_rule = {
    names = [
      "(^|[^a-z])pass",
      "(^|[^a-z])pw",
      "password",
      "passwd",
      "passphrase",
      "pwd",
      "secret",
      "token",
      "credentials?",
      "(access|api|encryption|private|secret|signing)[_-]?key",
    ]
    values = [
      "://[^/?#@:\\s]*:[^/?#@\\s]+@",
      "(password|passwd|passphrase|pwd)[\"']?\\s*[=:]\\s*[\"']?[^\\s\"']",
      "password\\s+'",
      "\\b(akia|asia)[0-9a-z]{16}\\b",
      "-----begin [a-z ]*private key",
      "x-amz-signature=",
      "\\b(gh[opsu]_|github_pat_|xox[abp]-|sk_live_)[0-9a-z]",
    ]
    harmless_values = [
      "arn:.*",
      "[-+]?[0-9.]*",
      "true|false",
    ]
  }

  secret_name    = "(?i)(${join("|", local.secret_rule.names)})_?[0-9]*$"
  secret_value   = "(?i)(${join("|", local.secret_rule.values)})"
  harmless_value = "^(${join("|", local.secret_rule.harmless_values)})$"
}
