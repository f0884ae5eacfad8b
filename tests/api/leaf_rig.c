#include "tests/api/leaf_rig.h"

#include "tests/api/tls_certs.h"
#include "tests/lib/runner.h"

struct server_process hub, edge;

void leaf_start(struct server_process *s, int way, const char *config)
{
    s->args[0] = "--workers";
    s->args[1] = way % 2 == 0 ? "1" : "2";
    s->args[2] = "-c";
    s->args[3] = server_process_config(s, config);
    s->args[4] = "-DV";
    server_process_start(s);
}

void leaf_start_hub(int way, const char *config)
{
    server_process_init(&hub);
    certs_make(hub.dir);
    leaf_start(&hub, way, config);
    ck_assert_uint_ne(hub.leaf_port, 0);
}
