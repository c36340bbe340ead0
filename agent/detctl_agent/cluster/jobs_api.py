"""Creates, reads and deletes Jobs of one namespace with the official client, and nothing else in the cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from detctl_agent.errors import AgentError

REQUEST_S = 20.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
State = Literal["running", "failed", "complete", "gone"]


class JobsApi:
    """The API of the cluster. Credentials are those of the pod's service account, or of KUBECONFIG."""

    def __init__(self, namespace: str = "") -> None:
        """Raises AgentError if no cluster can be reached."""
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise AgentError("launching Jobs needs the package kubernetes: pip install 'detctl[kubernetes]'") from error
        settings = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(settings)
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
        except config.ConfigException as error:
            raise AgentError(f"no cluster: run the agent in a pod, or set KUBECONFIG ({error})") from error
        self._api = client.BatchV1Api(client.ApiClient(settings))
        self.namespace = namespace or _own_namespace()

    def create(self, job: dict[str, Any]) -> None:
        """Creates the Job; does nothing if one of this name exists. Raises AgentError."""
        try:
            body: Any = job  # the client takes plain values too
            self._api.create_namespaced_job(self.namespace, body, _request_timeout=REQUEST_S)
        except Exception as error:
            # Errors of the client, of urllib3 or of a broken answer all mean that no Job was made.
            if getattr(error, "status", None) != 409:
                raise AgentError(f"the Job was not made: {_why(error)}") from error

    def state(self, name: str) -> tuple[State, str]:
        """(state, why it failed). Raises AgentError if the API does not answer."""
        try:
            job = self._api.read_namespaced_job(name, self.namespace, _request_timeout=REQUEST_S)
        except Exception as error:  # as in create
            if getattr(error, "status", None) == 404:
                return "gone", "somebody deleted the Job"
            raise AgentError(f"the Job cannot be seen: {_why(error)}") from error
        for condition in (job.status.conditions if job.status else None) or ():
            if condition.status == "True" and condition.type in ("Failed", "FailureTarget"):
                return "failed", f"{condition.reason or 'failed'}: {condition.message or ''}".strip(": ")
            if condition.status == "True" and condition.type in ("Complete", "SuccessCriteriaMet"):
                return "complete", ""
        return "running", ""

    def delete(self, name: str) -> None:
        """Deletes the Job and its pods, if there are any. Never raises: the Job's own deadline ends it too."""
        try:
            self._api.delete_namespaced_job(
                name, self.namespace, propagation_policy="Background", _request_timeout=REQUEST_S
            )
        except Exception:  # as in create; the run does not depend on it
            return


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text("ascii").strip()
    except OSError:
        return "default"


def _why(error: Exception) -> str:
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    return (
        f"{status} {reason}"
        if status
        else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    )
