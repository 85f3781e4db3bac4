terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "endpoint" {}
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = false
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  endpoints {
    lambda = var.endpoint
    iam    = var.endpoint
    sts    = var.endpoint
    sqs    = var.endpoint
    logs   = var.endpoint
    s3     = var.endpoint
  }
}
resource "aws_iam_role" "r" {
  name               = "fn"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}
resource "aws_sqs_queue" "q" { name = "q" }
resource "aws_lambda_layer_version" "l" {
  layer_name               = "l"
  filename                 = "${path.module}/l.zip"
  compatible_runtimes      = ["python3.11"]
  compatible_architectures = ["x86_64"]
  license_info             = "MIT"
}
resource "aws_lambda_layer_version_permission" "lp" {
  layer_name     = aws_lambda_layer_version.l.layer_name
  version_number = aws_lambda_layer_version.l.version
  principal      = "111122223333"
  action         = "lambda:GetLayerVersion"
  statement_id   = "x"
}
resource "aws_lambda_code_signing_config" "c" {
  description = "d"
  allowed_publishers { signing_profile_version_arns = ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"] }
  policies { untrusted_artifact_on_deployment = "Warn" }
  tags = { a = "b" }
}
resource "aws_lambda_function" "f" {
  function_name                  = "f"
  role                           = aws_iam_role.r.arn
  handler                        = "app.handler"
  runtime                        = "python3.11"
  filename                       = "${path.module}/f.zip"
  source_code_hash               = filebase64sha256("${path.module}/f.zip")
  publish                        = true
  layers                         = [aws_lambda_layer_version.l.arn]
  code_signing_config_arn        = aws_lambda_code_signing_config.c.arn
  reserved_concurrent_executions = 5
  timeout                        = 10
  memory_size                    = 256
  environment { variables = { WORD = "x" } }
  tracing_config { mode = "Active" }
  ephemeral_storage { size = 1024 }
  logging_config {
    log_format            = "JSON"
    application_log_level = "DEBUG"
    system_log_level      = "WARN"
  }
  vpc_config {
    subnet_ids         = ["subnet-1"]
    security_group_ids = ["sg-1"]
  }
  dead_letter_config { target_arn = aws_sqs_queue.q.arn }
  tags = { team = "data" }
}
resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.f.function_name
  function_version = aws_lambda_function.f.version
}
resource "aws_lambda_permission" "p" {
  statement_id   = "s3"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.f.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = "arn:aws:s3:::in"
  source_account = "000000000000"
}
resource "aws_lambda_permission" "pa" {
  statement_id           = "url"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.f.function_name
  qualifier              = aws_lambda_alias.live.name
  principal              = "*"
  function_url_auth_type = "NONE"
}
resource "aws_lambda_function_url" "u" {
  function_name      = aws_lambda_function.f.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "NONE"
  cors {
    allow_origins = ["*"]
    max_age       = 10
  }
}
resource "aws_lambda_function_event_invoke_config" "e" {
  function_name                = aws_lambda_function.f.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
  destination_config {
    on_failure { destination = aws_sqs_queue.q.arn }
  }
}
resource "aws_lambda_function_recursion_config" "rc" {
  function_name  = aws_lambda_function.f.function_name
  recursive_loop = "Allow"
}
resource "aws_lambda_runtime_management_config" "rm" {
  function_name     = aws_lambda_function.f.function_name
  update_runtime_on = "FunctionUpdate"
}
resource "aws_lambda_provisioned_concurrency_config" "pc" {
  function_name                     = aws_lambda_function.f.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = 1
}
resource "aws_lambda_event_source_mapping" "m" {
  event_source_arn = aws_sqs_queue.q.arn
  function_name    = aws_lambda_alias.live.arn
  batch_size       = 5
  tags             = { a = "b" }
}
data "aws_lambda_function" "d" { function_name = aws_lambda_function.f.function_name }
output "invoke" { value = data.aws_lambda_function.d.qualified_arn }
