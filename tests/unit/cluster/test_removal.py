"""What is asked of the API server until a session is gone."""

import asyncio
from collections import Counter

from lab_cluster import open_cluster

from ktnet.cluster.removal import delete_session


def test_what_is_gone_is_not_asked_for_again_while_the_pod_ends(monkeypatch):
    async def main():
        async with asyncio.timeout(30), open_cluster() as cluster:
            api, asked = cluster.api, Counter()
            labels = {"ktnet.dev/session": "s"}
            spec = {"containers": [{"name": "shadow", "image": "i"}]}
            pod = {"metadata": {"name": "p", "labels": labels}, "spec": spec}
            cluster.store.create("pods", "demo", {"apiVersion": "v1", "kind": "Pod", **pod})
            real_get, real_list = api.get, api.list_all

            async def get(plural, name, **others):
                asked[plural] += 1
                return await real_get(plural, name, **others)

            async def list_all(plural, **others):
                asked[plural] += 1
                if asked[plural] == 4:
                    cluster.store.delete("pods", "demo", "p", grace_s=0)
                return await real_list(plural, **others)

            monkeypatch.setattr(api, "get", get)
            monkeypatch.setattr(api, "list_all", list_all)
            assert await delete_session(
                api, "demo", "s", ["s"], owned=[("services", "s-origin")], grace_s=5, is_sure=True
            )
            assert asked == {"jobs": 1, "leases": 1, "services": 1, "pods": 4}

    asyncio.run(main())
